//! What is taken out of the archive through its site: records as files, streams of all of them, hits of many queries; and what is
//! kept there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::site::{Site, TOKEN, world};
use crate::world::{CHART, NOTE, until};

const JSON: &str = "Content-Type: application/json\r\n";

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

#[test]
fn a_record_is_taken_out_as_the_command_line_prints_it() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let digest = site.digest(NOTE);
    let short = &digest[..12];
    for (format, kind, ending) in [
        ("hocr", "application/xhtml+xml; charset=utf-8", "hocr"),
        ("alto", "application/xml; charset=utf-8", "alto.xml"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "tsv"),
        ("text", "text/plain; charset=utf-8", "txt"),
        ("markdown", "text/markdown; charset=utf-8", "md"),
        ("json", "application/json", "json"),
    ] {
        let taken = site.get(&format!("/record/{digest}/{format}"));
        assert_eq!(
            (taken.status, taken.header("content-type")),
            (200, kind),
            "{format}: {taken:?}"
        );
        assert_eq!(taken.header("x-content-type-options"), "nosniff");
        assert_eq!(
            taken.header("content-disposition"),
            format!("attachment; filename=\"{short}.{ending}\"")
        );
        let printed = world.ocelli(["show", &digest, "--format", format]).out;
        assert_eq!(taken.body.trim_end(), printed.trim_end(), "{format}");
        let same = site.get(&format!("/api/v1/records/{digest}/as/{format}"));
        assert_eq!(same.body, taken.body, "{format}");
        let again = format!("If-None-Match: {}\r\n", taken.header("etag"));
        assert_eq!(site.get_with(&format!("/record/{digest}/{format}"), &again).status, 304);
    }
    let page = site.get(&format!("/record/{digest}")).body;
    assert!(page.contains(&format!("/record/{digest}/alto")), "{page}");
    for (path, status) in
        [("exe", 404), ("hocr?analyzer=llama3.2-vision", 404), ("hocr?analyzer=A%20B", 400)]
    {
        assert_eq!(site.get(&format!("/record/{digest}/{path}")).status, status, "{path}");
    }
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn searches_are_kept_by_whoever_has_the_token_and_listed_for_everybody() {
    let mut world = world();
    world.settings("saved_searches = 2");
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let form = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";
    for path in ["/search/save", "/search/forget"] {
        assert_eq!(site.post(path, form, b"name=a&q=b").status, 401, "{path}");
    }
    assert_eq!(
        site.send("PUT", "/api/v1/searches/milk", JSON, b"{\"query\":\"buy*\"}").status,
        401
    );
    let allowed = format!("{form}{}", bearer());
    let saved = site.post("/search/save", &allowed, "name=Milk+<b>%E2%80%AE&q=buy*".as_bytes());
    assert_eq!(
        (saved.status, saved.header("location")),
        (303, "/search?q=buy*&facets=1"),
        "{saved:?}"
    );
    let put = |name: &str, query: &str| {
        let body = serde_json::json!({ "query": query }).to_string();
        let more = format!("{JSON}{}", bearer());
        site.send("PUT", &format!("/api/v1/searches/{name}"), &more, body.as_bytes())
    };
    assert_eq!(put("other", "is:failed").status, 200);
    assert_eq!(put("other", "is:empty").json()["query"], "is:empty");
    assert_eq!(put("third", "x").status, 413, "two are kept");
    assert_eq!(put("other", "nosuch:x").status, 400);
    assert_eq!(put("other", "").status, 400);
    assert_eq!(put(&"x".repeat(81), "x").status, 400);
    let kept = site.get("/api/v1/searches").json();
    let names: Vec<_> =
        kept.as_array().unwrap().iter().map(|one| one["query"].as_str().unwrap()).collect();
    assert_eq!(names, ["buy*", "is:empty"], "{kept}");
    let page = site.get("/search?q=note").body;
    assert!(
        page.contains("/search?q=is%3Aempty") && page.contains("Milk &#60;b&#62;\u{fffd}"),
        "{page}"
    );
    assert!(
        !page.contains("<b>") && !page.contains("Forget"),
        "only whoever signed in may: {page}"
    );
    let forgotten = site.send("DELETE", "/api/v1/searches/other", &bearer(), b"");
    assert_eq!(
        (forgotten.status, site.send("DELETE", "/api/v1/searches/other", &bearer(), b"").status),
        (204, 404)
    );
    let log = site.get("/log.json").json();
    assert_eq!(
        (&log[0]["kind"], &log[1]["kind"]),
        (&"search forgotten".into(), &"search saved".into()),
        "{log}"
    );
    assert_eq!(site.service.stop(), 0);
    world.audit();
}

#[test]
fn many_queries_are_asked_at_once_and_answered_as_the_command_line_answers_them() {
    let mut world = world();
    world.settings("batch_queries = 3\nbatch_bytes = \"2KiB\"\nbatch_hits = 1");
    world.samples("in", &[NOTE, CHART]);
    let site = Site::up(&world, "in");
    site.complete(2);
    let queries = "scaling\n# a remark\n\nzzzz\n";
    std::fs::write(world.path("queries.txt"), queries).unwrap();
    for format in ["csv", "ndjson"] {
        let printed = world.ocelli(["search", "--queries", "queries.txt", "--format", format]).out;
        assert!(printed.contains("Scaling"), "{printed}");
        let asked = site.post(
            &format!("/api/v1/hits?format={format}"),
            "Content-Type: text/plain\r\n",
            queries.as_bytes(),
        );
        assert_eq!((asked.status, &asked.body), (200, &printed), "{format}");
        assert_eq!(
            asked.header("content-disposition"),
            format!("attachment; filename=\"hits.{format}\"")
        );
        let body = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"queries\"\r\n\r\nscaling\r\n--xx\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"q.txt\"\r\n\r\nzzzz\r\n--xx\r\n\
             Content-Disposition: form-data; name=\"format\"\r\n\r\n{format}\r\n--xx--\r\n"
        );
        let kind = "Content-Type: multipart/form-data; boundary=xx\r\n";
        let sent = site.post("/search/batch", kind, body.as_bytes());
        assert_eq!((sent.status, &sent.body), (200, &printed), "{format}");
        let foreign = format!("{kind}Sec-Fetch-Site: cross-site\r\n");
        assert_eq!(site.post("/search/batch", &foreign, body.as_bytes()).status, 403);
    }
    let ask = |list: &str| site.post("/api/v1/hits", "", list.as_bytes());
    let cut = ask("is:done").body;
    assert!(cut.contains("only 1 of 2 records"), "what is left out is said: {cut}");
    for (list, status, words) in [
        ("a\n(b", 400, "the list, line 2: "),
        ("a\nb\nc\nd", 400, "more than 3 queries"),
        ("", 400, "no query"),
        (&*"a b ".repeat(2_000), 413, "web.batch_bytes"),
    ] {
        let answer = ask(list);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains(words), "{answer:?}");
    }
    assert_eq!(site.get("/search/batch.json").json()["queries"], 3);
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn an_archive_is_streamed_to_its_end_or_visibly_broken_off() {
    let mut world = world();
    world.settings("exports = 1\nexport_stall = \"1s\"");
    world.many("in", 12);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let site = Site::start(&world, &["web", "--listen", "off"]);
    let taken = |query: &str| {
        let mut answer = None;
        // Whoever was here before has perhaps not given the place back yet.
        until("a place is free", || {
            let asked = site.get(&format!("/api/v1/export?{query}"));
            let free = asked.status != 503;
            answer = Some(asked);
            free
        });
        answer.unwrap()
    };
    for (format, kind) in [
        ("jsonl", "application/x-ndjson"),
        ("csv", "text/csv; charset=utf-8"),
        ("text", "text/plain; charset=utf-8"),
    ] {
        let all = taken(&format!("format={format}"));
        assert_eq!((all.status, all.header("content-type")), (200, kind));
        assert!(all.is_whole, "{format}");
        assert_eq!(all.body, world.ocelli(["export", "--format", format]).out, "{format}");
    }
    let all = taken("format=jsonl");
    // Whoever has it gets nothing, also while it takes a place to look; of another form, another query or another archive it does.
    let tag = all.header("etag").to_owned();
    let again = |query: &str| {
        site.get_with(&format!("/api/v1/export?{query}"), &format!("If-None-Match: {tag}\r\n"))
    };
    until("a place to look is free", || again("format=jsonl").status != 503);
    let known = again("format=jsonl");
    assert_eq!(
        (known.status, known.header("etag"), known.body.len()),
        (304, &*tag, 0),
        "{known:?}"
    );
    for query in ["format=csv", "where=is%3Adone", "older=1", "since=p1.0.SAME"] {
        let query = query.replace("SAME", &"0".repeat(64));
        let other = taken(&query);
        assert!(other.status == 200 && other.header("etag") != tag, "{query}: {other:?}");
    }
    let cursor = all.header("ocelli-cursor");
    assert!(taken(&format!("since={cursor}")).body.is_empty());
    assert_eq!(taken("where=is%3Adone").body, all.body);
    assert!(taken("where=is%3Afailed").body.is_empty());
    for (query, words) in
        [("format=parquet", "format is"), ("since=x", "no cursor"), ("where=%28", "character 1")]
    {
        let wrong = taken(query);
        assert!(wrong.status == 400 && wrong.body.contains(words), "{wrong:?}");
    }
    let one = world.samples("later", &[NOTE]);
    assert_eq!(world.ocelli(["run", one.to_str().unwrap()]).code, 0);
    until("a place is free", || again("format=jsonl").status != 503);
    let mut newer = String::new();
    until("a place is free again", || {
        let asked = again("format=jsonl");
        newer = asked.body;
        asked.status == 200
    });
    assert!(
        newer.starts_with(&all.body) || newer.len() > all.body.len(),
        "another record is there"
    );
    // More than sockets hold: whoever does not read keeps the rest from being made.
    let grow = format!(
        "import sqlite3\nc = sqlite3.connect('{}')\nc.execute(\"UPDATE analyses SET text = ?\", ('long ' * 1000000,))\nc.commit()\n",
        world.path("home/.local/share/ocelli/catalog.db").display()
    );
    assert!(Command::new("python3").args(["-c", &grow]).status().unwrap().success());
    let begin = || {
        let mut stream = TcpStream::connect(&site.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let host = &site.address;
        write!(stream, "GET /api/v1/export HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut begun = [0; 1024];
        stream.read_exact(&mut begun).unwrap();
        assert!(begun.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&begun));
        stream
    };
    let slow = begin();
    assert_eq!(site.get("/api/v1/export").status, 503, "one at a time");
    // Gone in the middle: its place is free.
    drop(slow);
    let whole = taken("where=zzzz");
    assert!(whole.is_whole && whole.body.is_empty());
    // It takes nothing for longer than it may: its place is free, and what it reads later has no end.
    let mut slow = begin();
    assert!(taken("where=zzzz").is_whole);
    let mut rest = Vec::new();
    let ended = slow.read_to_end(&mut rest);
    assert!(
        ended.is_err() || !rest.ends_with(b"0\r\n\r\n"),
        "{} bytes, and a clean end",
        rest.len()
    );
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn lists_for_programs_name_the_address_of_their_next_page() {
    let world = world();
    let folder = world.samples("in", &[]);
    let whole = std::fs::read(crate::world::sample_folder().join(CHART)).unwrap();
    for part in 2..5 {
        std::fs::write(folder.join(format!("cut-{part}.png")), &whole[..whole.len() / part])
            .unwrap();
    }
    let site = Site::up(&world, "in");
    site.complete(3);
    let note = std::fs::read(crate::world::sample_folder().join(NOTE)).unwrap();
    let body = [
        &b"--xx\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.png\"\r\n\r\n"[..],
        &note,
        b"\r\n--xx--\r\n",
    ];
    let kind = "Content-Type: multipart/form-data; boundary=xx\r\n";
    assert_eq!(site.post("/api/v1/batches", kind, &body.concat()).status, 401);
    let brought = site.post("/api/v1/batches", &format!("{kind}{}", bearer()), &body.concat());
    assert_eq!(brought.status, 200, "{brought:?}");
    let batch = brought.json()["batch"].as_str().unwrap().to_owned();
    until("it is read", || site.get(&format!("/api/v1/batches/{batch}")).json()["over"] == true);
    for (path, all) in
        [("/api/v1/failures?analyzer=tesseract-ocr&limit=2", 3), ("/api/v1/batches?limit=1", 2)]
    {
        let (mut next, mut seen) = (path.to_owned(), Vec::new());
        while !next.is_empty() {
            let page = site.get(&next);
            seen.extend(page.json().as_array().unwrap().iter().map(ToString::to_string));
            let link = page.header("link");
            next = link
                .strip_prefix('<')
                .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
                .unwrap_or_default()
                .to_owned();
            assert_eq!(link.is_empty(), next.is_empty(), "{link}");
        }
        assert_eq!(seen.len(), all, "{path}: {seen:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "{path}: each once");
    }
    assert_eq!(site.service.stop(), 0);
}

/// The checker of APIs in the build folder; installed now where it is not.
#[test]
fn a_checker_of_apis_finds_no_server_error() {
    let world = world();
    world.samples("in", &[NOTE]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/api-check.sh");
    let output = world
        .here(Command::new(script))
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
        .args([&format!("http://{}", site.address), TOKEN])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}\n{}", site.service.log());
    assert_eq!(site.service.stop(), 0);
}
