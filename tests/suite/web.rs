//! The archive as a web site, asked as a browser and as an enemy would ask it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};
use ocelli_testkit::ports;
use ocelli_testkit::servers::OwnPostgres;
use serde_json::Value;

use crate::world::{CHART, NOTE, Service, World, sample_folder, until};

const TOKEN: &str = "correct-horse-battery-staple";

/// A site that is served.
struct Site {
    service: Service,
    address: String,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        lines
            .find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then_some(value)
            })
            .unwrap_or_default()
    }
}

impl Site {
    /// `ocelli up` over a folder of this world.
    fn up(world: &World, folder: &str) -> Self {
        Self::start(world, &["up", folder, "--listen", "off"])
    }

    fn start(world: &World, arguments: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let listen = format!("web.listen={address}");
        let arguments = [arguments, &["--set", listen.as_str()][..]].concat();
        let service = world.start("ocelli", arguments);
        let site = Self { service, address };
        until("the archive is served", || TcpStream::connect(&site.address).is_ok());
        site
    }

    fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // One that is refused early may be closed before all of it was sent.
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        assert!(!bytes.is_empty(), "no answer: {sent:?} {read:?} {}", &head[..head.len().min(200)]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            joined(body)
        } else {
            body.to_owned()
        };
        Answer { status, head: head.to_owned(), body }
    }

    fn get_with(&self, path: &str, more: &str) -> Answer {
        let host = &self.address;
        self.ask(
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"),
            &[],
        )
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    fn post(&self, path: &str, more: &str, body: &[u8]) -> Answer {
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.ask(&head, body)
    }

    /// Brings files in, as a program with the token.
    fn bring(&self, files: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, bytes) in files {
            body.extend_from_slice(
                format!("--xx\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xx--\r\n");
        let more = format!(
            "Authorization: Bearer {TOKEN}\r\nAccept: application/json\r\n\
             Content-Type: multipart/form-data; boundary=xx\r\n"
        );
        self.post("/bring", &more, &body)
    }

    /// The digest of the record whose latest source ends like this.
    fn digest(&self, end: &str) -> String {
        let page = self.get("/gallery.json?limit=200").json();
        let hits = page["hits"].as_array().unwrap();
        let hit = hits
            .iter()
            .find(|hit| hit["source"].as_str().is_some_and(|source| source.ends_with(end)));
        hit.unwrap_or_else(|| panic!("no {end} in {page}"))["digest"].as_str().unwrap().to_owned()
    }

    /// Waits until every record is complete.
    fn complete(&self, images: u64) {
        until("every record is complete", || {
            let status = &self.get("/fleet.json").json()["status"];
            status["images"] == images && status["complete"] == images
        });
    }
}

/// A chunked body as one (RFC 9112, 7.1); lengths are of bytes, and the texts of these tests are short.
fn joined(body: &str) -> String {
    let (mut rest, mut whole) = (body.as_bytes(), Vec::new());
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).ok();
        let Some(length) = length.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            break;
        };
        whole.extend_from_slice(rest.get(end + 2..end + 2 + length).unwrap_or_default());
        rest = rest.get(end + 4 + length..).unwrap_or_default();
        if length == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&whole).into_owned()
}

/// A world whose site may be written to.
fn world() -> World {
    let mut world = World::new();
    world.settings(&format!(
        "[web]\ntoken = \"{TOKEN}\"\nupload_timeout = \"5s\"\nupload_bytes = \"2MiB\""
    ));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_reads_searches_compares_mends_and_brings_images_in_with_and_without_scripts() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
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
    let upload = world.samples("elsewhere", &["meme-party.png"]).join("meme-party.png");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/browser.sh");
    let output = tokio::task::spawn_blocking({
        let base = format!("http://{}", site.address);
        move || {
            Command::new(script)
                .args(["pages.mjs", "--base", &base, "--token", TOKEN, "--gone", &gone])
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
        "/robots.txt",
        "/record/DIGEST",
        "/record/DIGEST.json",
        "/record/DIGEST.txt",
        "/compare/DIGEST",
        "/compare/DIGEST.json",
        "/api/v1/records/DIGEST",
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
    // Longer than any address may be: refused before it is read.
    assert!(matches!(site.get(&long(100_000)).status, 414 | 431));
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
