//! The archive as a web site, asked as a browser and as an enemy would ask it.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};
use ocelli_testkit::servers::OwnPostgres;

use crate::site::{Site, TOKEN, world};
use crate::world::{CHART, NOTE, World, sample_folder, until};

/// What every model of the browser's archive says: in all sections that one of them is asked for, with quotes.
const LENSES: &str = "## Visual Description\nA chart with the title \"Scaling Open Language Models\". In the corner a sign reads \
    \"Free beer for everybody\", and nobody seems to mind.\n\n## Foucauldian Genealogical Discourse Analysis\nThe axes rank what they \
    count, and what is not counted does not appear.\n\n## Critical Theory\nProgress is drawn as one line to the right.\n\n## Marxist \
    Conflict Theory\nWho pays for the computing is not on the chart.\n\n## Postmodernism\nA graph about graphs, told by its own \
    legend.\n\n## Queer Feminist Intersectional Analysis\nThe names of the models stand for people who are not named.\n\n\
    **Disclaimer:** these are readings, and others are possible.";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_reads_searches_compares_mends_and_brings_images_in_with_and_without_scripts() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    models.set_behaviour(Behaviour::Text(LENSES.to_owned()));
    let mut world = World::new();
    world.settings(&format!("[web]\ntoken = \"{TOKEN}\""));
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        world.settings(&format!("[analyzers.\"{name}\"]\nendpoints = [\"{}\"]", models.url()));
    }
    let names = [
        CHART,
        NOTE,
        "photo-shop-sign-turned.jpg",
        "meme-mountains.jpg",
        "meme-cat.png",
        "receipt.jpg",
        "screen-chat-dark.webp",
        "photo-hills-no-text.jpg",
        "poster.gif",
    ];
    let folder = world.samples("in", &names);
    let chart = std::fs::read(folder.join(CHART)).unwrap();
    std::fs::write(folder.join("cut-off.png"), &chart[..chart.len() / 3]).unwrap();
    let site = Site::up(&world, "in");
    site.complete(names.len() as u64 + 1);
    let note = std::fs::read(folder.join(NOTE)).unwrap();
    std::fs::write(folder.join("will-be-gone.png"), [&note[..], &b"another"[..]].concat()).unwrap();
    site.complete(names.len() as u64 + 2);
    let gone = site.digest("will-be-gone.png");
    std::fs::remove_file(folder.join("will-be-gone.png")).unwrap();
    let broken = site.digest("cut-off.png");
    let upload = world.samples("elsewhere", &["meme-party.png"]).join("meme-party.png");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/browser.sh");
    let output = tokio::task::spawn_blocking({
        let base = format!("http://{}", site.address);
        move || {
            Command::new(script)
                .args(["pages.mjs", "--base", &base, "--token", TOKEN, "--gone", &gone])
                .args(["--broken", &broken])
                .arg("--upload")
                .arg(upload)
                .arg("--shots")
                .arg(shots)
                .output()
                .unwrap()
        }
    });
    let output = output.await.unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}\n{}", site.service.log());
    assert!(said.contains("the walk is over"), "{said}");
    assert_eq!(site.service.stop(), 0);
    world.audit();
}

#[test]
fn every_answer_forbids_foreign_code_and_frames_and_knows_what_a_browser_has() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let digest = site.digest(NOTE);
    let pages = [
        "/",
        "/gallery.json",
        "/search?q=buy*",
        "/search.json",
        "/search.atom",
        "/search.feed.json",
        "/fleet",
        "/fleet.json",
        "/failures",
        "/failures.json",
        "/bring",
        "/log",
        "/log.json",
        "/help",
        "/sign-in",
        "/api/v1/openapi.json",
        "/api/v1/records",
        "/api/v1/status",
        "/api/v1/failures",
        "/api/v1/batches",
        "/bring.json",
        "/help.json",
        "/sign-in.json",
        "/search/batch",
        "/search/batch.json",
        "/disagreements",
        "/disagreements.json",
        "/attempts/DIGEST?analyzer=tesseract-ocr",
        "/attempts/DIGEST.json?analyzer=tesseract-ocr",
        "/record/DIGEST/hocr",
        "/record/DIGEST/json",
        "/api/v1/searches",
        "/api/v1/disagreements",
        "/robots.txt",
        "/record/DIGEST",
        "/record/DIGEST.json",
        "/record/DIGEST.txt",
        "/compare/DIGEST",
        "/compare/DIGEST.json",
        "/api/v1/records/DIGEST",
        "/api/v1/records/DIGEST/similar",
        "/api/v1/records/DIGEST/compare",
        "/api/v1/records/DIGEST/attempts?analyzer=tesseract-ocr",
        "/api/v1/export",
        "/api/v1/export?format=csv&where=is:done",
        "/image/DIGEST/thumb",
        "/image/DIGEST/view",
        "/image/DIGEST/original",
    ];
    for page in pages {
        let page = page.replace("DIGEST", &digest);
        let page = page.as_str();
        let answer = site.get(page);
        assert_eq!(answer.status, 200, "{page}: {answer:?}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{page}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{page}");
        let tag = answer.header("etag").to_owned();
        // These change while one looks.
        let is_live =
            ["fleet", "status", "batches", "robots"].iter().any(|live| page.contains(live));
        if !is_live {
            let again = site.get_with(page, &format!("If-None-Match: {tag}\r\n"));
            assert_eq!((again.status, again.body.len()), (304, 0), "{page}");
        }
    }
    let document = site.get("/api/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/records/{digest}"]["get"].is_object(), "{document}");
    // What is embedded comes packed to whoever takes that, under another tag.
    let front = site.get("/").body;
    let style = front.split("href=\"/assets/").nth(2).and_then(|rest| rest.split('"').next());
    let style = format!("/assets/{}", style.unwrap());
    let (whole, packed) =
        (site.get(&style), site.get_with(&style, "Accept-Encoding: gzip, br\r\n"));
    assert_eq!((whole.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    assert!(packed.header("vary").contains("accept-encoding"));
    assert_ne!(whole.header("etag"), packed.header("etag"));
    let image = site.get(&format!("/image/{digest}/original"));
    assert_eq!(image.header("content-type"), "image/png");
    assert!(image.header("content-security-policy").contains("sandbox"));
    let short = site.get(&format!("/record/{}", &digest[..8]));
    assert_eq!((short.status, short.header("location")), (303, &*format!("/record/{digest}")));
    let text = site.get(&format!("/record/{digest}.txt")).body;
    assert_eq!(text, world.ocelli(["show", &digest, "--format", "text"]).out);
}

#[test]
fn requests_that_make_no_sense_are_answered_in_words() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    let long = |length: usize| format!("/search?q={}", "a".repeat(length));
    for (path, status, words) in [
        ("/nowhere", 404, "nothing at this address"),
        ("/record/xyz", 400, "not a digest prefix"),
        (&*format!("/record/{}", "0".repeat(64)), 404, "no image 000000000000"),
        ("/search?q=nosuch:x", 400, "unknown filter"),
        (&*long(10_000), 400, "the query has 10000 characters"),
        ("/?limit=1000000000", 400, "limit is a number from 1 to 200"),
        ("/?cursor=nonsense", 400, "this is no cursor"),
        ("/batch/17", 400, "not a batch id"),
        ("/log?before=x", 400, "before is a number"),
        ("/api/v1/records?limit=0", 400, "limit is a number"),
        ("/fleet/pause", 405, "does not take that method"),
        ("/%ff%00", 404, "nothing at this address"),
        ("/record/%ff", 400, "Invalid UTF-8"),
        ("/?page=1000000000", 400, "pages have no numbers here"),
        ("/search?q=cat&page=2", 400, "pages have no numbers here"),
        ("/disagreements?page=1000000000", 400, "pages have no numbers here"),
        ("/api/v1/failures?page=1000000000", 400, "pages have no numbers here"),
        ("/api/v1/failures?cursor=x", 400, "this is no cursor"),
        ("/api/v1/batches?cursor=b1.1.x", 400, "this is no cursor"),
        ("/log?before=99999999999999999999", 400, "before is a number"),
    ] {
        let page = site.get(path);
        let shown = &path[..path.len().min(60)];
        assert_eq!(page.status, status, "{shown}");
        let body = page.body.replace("&#39;", "'");
        assert!(body.contains(words), "{shown}: {body}");
        let json = site.get_with(path, "Accept: application/json\r\n");
        assert_eq!(json.status, status, "{shown}");
        assert!(
            json.json()["error"].as_str().is_some_and(|error| error.contains(words)),
            "{json:?}"
        );
    }
    // Longer than any address may be: refused before it is read, in words all the same.
    let page = site.get(&long(100_000));
    assert_eq!(page.status, 414, "{page:?}");
    assert!(page.body.contains("this address is longer than 65,534 bytes"), "{page:?}");
    // In a body it is read, and answered.
    let line = vec![b'a'; 100_000];
    let listed = site.post("/api/v1/hits", "", &line);
    assert!(
        listed.status == 400 && listed.body.contains("the query has more than 4000 characters"),
        "{listed:?}"
    );
    let form = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";
    let form = format!("{form}Authorization: Bearer {TOKEN}\r\n");
    let kept = site.post("/search/save", &form, &[b"name=a&q=", &line[..]].concat());
    assert!(kept.status == 413 && kept.body.contains("a form has at most"), "{kept:?}");
    let foreign =
        site.ask("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", &[]);
    assert_eq!(foreign.status, 421, "{foreign:?}");
    // Whoever sends half a head keeps nobody else waiting.
    let mut half = TcpStream::connect(&site.address).unwrap();
    half.write_all(b"GET / HT").unwrap();
    assert_eq!(site.get("/help").status, 200);
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn whoever_asks_too_often_is_told_to_wait() {
    let mut world = world();
    world.settings("rate = 1");
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    // All at once: one after the other they could be slow enough to be allowed.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| site.get("/help"))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().any(|answer| answer.status == 200), "{:?}", answers[0]);
    let told = answers.iter().find(|answer| answer.status == 429).expect("some are too many");
    assert_eq!(told.header("retry-after"), "2");
    assert!(told.body.contains("too many requests from your address"), "{told:?}");
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn nobody_changes_anything_without_the_token_or_led_by_another_site() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let here = format!("{form}Sec-Fetch-Site: same-origin\r\n");
    let actions =
        ["/fleet/pause", "/fleet/resume", "/failures/retry", "/failures/discard", "/sign-out"];
    for path in actions {
        assert_eq!(site.post(path, &here, b"analyzer=tesseract-ocr").status, 401, "{path}");
    }
    assert_eq!(site.post("/sign-in", form, format!("token={TOKEN}").as_bytes()).status, 403);
    assert_eq!(site.post("/sign-in", &here, b"token=wrong").status, 401);
    let signed = site.post("/sign-in", &here, format!("token={TOKEN}").as_bytes());
    assert_eq!(signed.status, 303, "{signed:?}");
    let cookie = signed.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let page = site.get_with("/fleet", &cookie).body;
    let secret = page
        .split("name=\"form\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let body = format!("form={secret}&analyzer=tesseract-ocr&reason=because");
    for (more, what) in [
        (format!("{here}{cookie}"), "no text of a form"),
        (format!("{form}{cookie}Sec-Fetch-Site: cross-site\r\n"), "another site"),
        (format!("{form}{cookie}Origin: http://evil.example\r\n"), "another origin"),
    ] {
        let sent = if what == "no text of a form" { "analyzer=tesseract-ocr" } else { &body };
        assert_eq!(site.post("/fleet/pause", &more, sent.as_bytes()).status, 403, "{what}");
    }
    assert_eq!(site.post("/fleet/pause", &format!("{here}{cookie}"), body.as_bytes()).status, 303);
    let paused = world.row("tesseract-ocr");
    assert!(paused.to_string().contains("because"), "{paused}");
    assert_eq!(site.post("/fleet/resume", &format!("{here}{cookie}"), body.as_bytes()).status, 303);
    let log = site.get("/log.json").json();
    assert_eq!(
        (&log[0]["kind"], &log[1]["kind"]),
        (&"analyzer resumed".into(), &"analyzer paused".into())
    );
    let wrong = site.post(
        "/api/v1/failures/retry",
        "Authorization: Bearer x\r\nContent-Type: application/json\r\n",
        b"{}",
    );
    assert_eq!(wrong.status, 401);
    let right = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    assert_eq!(site.post("/api/v1/failures/retry", &right, b"{}").json()["count"], 0);
    assert_eq!(site.post("/api/v1/failures/retry", &right, b"{\"clas\":1}").status, 400);
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn an_upload_that_lies_never_ends_or_is_a_bomb_harms_nobody() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let uploads = world.path("home/.local/share/ocelli/uploads");
    let folders = || std::fs::read_dir(&uploads).map_or(0, Iterator::count);

    // It says that it is an image, and is none; a list that reaches for files of the machine; and one that is fine.
    let secret = sample_folder().join(CHART);
    let list = format!("{}\n../in/{NOTE}\nbrought.png\n", secret.display());
    let good = std::fs::read(sample_folder().join("meme-party.png")).unwrap();
    let page: &[u8] = b"<!doctype html><script>alert(1)</script>";
    let brought = site.bring(&[
        ("../../evil.png", page),
        ("list.txt", list.as_bytes()),
        ("brought.png", good.as_slice()),
    ]);
    assert_eq!(brought.status, 200, "{brought:?}");
    let batch = brought.json()["batch"].as_str().unwrap().to_owned();
    until("the batch is done", || {
        let answer = site.get(&format!("/batch/{batch}.json"));
        answer.status == 200 && answer.json()["over"] == true
    });
    let view = site.get(&format!("/batch/{batch}.json")).json();
    // What says that it is an image is refused as one, and both lines of the list are problems.
    assert_eq!((&view["images"], &view["report"]["problems"]), (&2.into(), &2.into()), "{view}");
    let page = site.get(&format!("/batch/{batch}")).body;
    assert!(page.contains("only files that came along with the list"), "{page}");
    assert_eq!(folders(), 1);
    assert!(!world.path("home/.local/share/evil.png").exists());

    let too_much = site.bring(&[("large.png", vec![0; 3 << 20].as_slice())]);
    assert_eq!(too_much.status, 413, "{too_much:?}");
    assert_eq!(folders(), 1, "nothing of it is left");
    assert_eq!(site.bring(&[]).status, 400);

    // It never ends.
    let started = Instant::now();
    let head = format!(
        "POST /bring HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nAccept: application/json\r\n\
         Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n",
        site.address
    );
    let begun =
        b"--xx\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.png\"\r\n\r\nabc";
    let endless = site.ask(&head, begun);
    assert_eq!(endless.status, 504, "{endless:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(folders(), 1);

    // A bomb: a header that promises a square kilometre.
    let mut bomb = good;
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    assert_eq!(site.bring(&[("bomb.png", bomb.as_slice())]).status, 200);
    // The page that said it was an image is refused, too.
    until("the bomb is refused", || {
        site.get("/gallery.json?q=is%3Arefused").json()["total"]["records"] == 2
    });
    let bomb = site.get("/gallery.json?q=is%3Arefused").json()["hits"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(site.get(&format!("/image/{bomb}/view")).status, 404);
    assert_eq!(site.get(&format!("/record/{bomb}")).status, 200);
    assert_eq!(site.service.stop(), 0);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_an_archive_stays_text() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let hostile = "## A heading <script>alert(1)</script>\n\n<img src=x onerror=alert(2)> \
                   [click](javascript:alert(3)) ![x](https://tracker.example/a.png) <style>*{display:none}</style> and \
                   enough words that nobody takes this for no answer at all.";
    models.set_behaviour(Behaviour::Text(hostile.to_owned()));
    let mut world = world();
    world.settings(&format!(
        "[analyzers.\"llama3.2-vision\"]\nenabled = true\nendpoints = [\"{}\"]\nrequired_sections = []\n\
         [analyzers.gemma3-27b-vision]\nenabled = false",
        models.url()
    ));
    let folder = world.samples("in", &[NOTE]);
    let name = "\"><img src=x onerror=alert(4)>\u{202e}gnp.png";
    std::fs::rename(folder.join(NOTE), folder.join(name)).unwrap();
    let site = Site::up(&world, "in");
    site.complete(1);
    let page = site.get("/gallery.json").json();
    let digest = page["hits"][0]["digest"].as_str().unwrap().to_owned();
    let query = "/search?q=%22%3E%3Cscript%3Ealert%285%29%3C%2Fscript%3E+heading";
    for path in [
        "/",
        query,
        &format!("/record/{digest}?q=heading"),
        &format!("/compare/{digest}"),
        "/fleet",
        "/search.atom",
    ] {
        let page = site.get(path);
        let body = page.body;
        for bad in [
            "<script>alert",
            "<img src=x",
            "href=\"javascript:",
            "<style",
            "src=\"https://tracker",
            "\u{202e}",
        ] {
            assert!(!body.contains(bad), "{path} has {bad}: {body}");
        }
    }
    let record = site.get(&format!("/record/{digest}?q=heading")).body;
    assert!(record.contains("<h3>A <mark>heading</mark>"), "{record}");
    assert!(
        record.contains("&lt;img src=x onerror=alert(4)&gt;") || record.contains("&#60;img src=x"),
        "{record}"
    );
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn a_record_whose_image_is_gone_says_so_and_keeps_its_text() {
    let world = world();
    let folder = world.samples("in", &[CHART, NOTE]);
    let site = Site::up(&world, "in");
    site.complete(2);
    let (chart, note) = (site.digest(CHART), site.digest(NOTE));
    assert_eq!(site.get(&format!("/image/{note}/view")).header("content-type"), "image/jpeg");
    std::fs::remove_file(folder.join(CHART)).unwrap();
    // There is another image now.
    std::fs::copy(sample_folder().join("meme-cat.png"), folder.join(NOTE)).unwrap();
    let page = site.get(&format!("/record/{chart}")).body;
    assert!(page.contains("no longer where it was seen"), "{page}");
    assert!(page.contains("MMLU") || page.contains("Scaling"), "{page}");
    let view = site.get(&format!("/image/{chart}/view"));
    assert_eq!(view.status, 404);
    assert!(view.body.contains("the image is gone"), "{}", view.body);
    // One that was shown before is still there.
    assert_eq!(site.get(&format!("/image/{note}/view")).status, 200);
    let other = site.get(&format!("/image/{note}/thumb"));
    assert_eq!(other.status, 404, "what is shown is never another image");
    assert_eq!(site.service.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_private_postgres_is_away_pages_say_so_and_come_back_by_themselves() {
    let mut server = OwnPostgres::start().await;
    let database = server.database().await;
    let mut world = World::new();
    world.settings(&format!("[catalog]\nurl = \"{}\"\noperation_timeout = \"5s\"", database.url));
    let site = Site::start(&world, &["web", "--listen", "off"]);
    assert!(site.get("/").body.contains("Nothing yet"));
    server.stop().await;
    until("the catalog is missed", || site.get("/").status == 503);
    let page = site.get("/");
    assert!(
        page.body.contains("the catalog does not answer") && page.header("retry-after") == "5",
        "{page:?}"
    );
    assert!(page.body.contains("http-equiv=\"refresh\""));
    assert_eq!(
        site.get("/gallery.json").json()["error"],
        "the catalog does not answer at the moment"
    );
    assert_eq!(site.get("/help").status, 200, "what needs no catalog is there");
    server.start_again().await;
    until("the archive is back", || site.get("/").status == 200);
    assert_eq!(site.service.stop(), 0);
}
