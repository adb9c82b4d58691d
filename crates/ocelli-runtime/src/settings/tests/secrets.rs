//! Secrets and the files that hold them.

use super::*;

#[test]
fn secrets_come_from_files_trimmed_and_name_their_file() {
    let scene = Scene::new();
    let url = scene.write("url", " amqp://o:hunter2@broker/%2f \n");
    let key = scene.write("key", "sk-hunter2\n");
    let text = format!(
        "[broker]\nurl_file = {:?}\n[analyzers.\"llama3.2-vision\"]\nendpoints = [{{ url = \"http://m:1\", api_key_file = {:?}, headers = {{ X-Team = \"hunter2\" }}, in_flight = 2 }}]\n",
        url.display().to_string(),
        key.display().to_string(),
    );
    let scene = scene.file(&text);
    let loaded = scene.load();
    assert_eq!(loaded.settings.broker.url.expose(), "amqp://o:hunter2@broker/%2f");
    let endpoint = &loaded.settings.analyzers[2].llm().unwrap().endpoints[0];
    assert_eq!(endpoint.api_key.as_ref().unwrap().expose_secret(), "sk-hunter2");
    assert_eq!((endpoint.in_flight, endpoint.headers.len()), (Some(2), 1));

    let (value, origin) = shown(&loaded, "broker.url");
    assert_eq!(value, "\"amqp://o:***@broker/%2f\"");
    assert!(origin.starts_with(url.to_str().unwrap()) && origin.ends_with("line 2)"), "{origin}");
    let printed = format!("{loaded:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_secret_file_that_cannot_be_read_is_named() {
    let refused = Scene::new().variable("OCELLI_BROKER__URL_FILE", "/nonexistent/url").refused();
    let expected = "settings: OCELLI_BROKER__URL_FILE: broker.url_file = /nonexistent/url: cannot be read: No such file";
    assert!(refused.starts_with(expected) && refused.ends_with("or make the file"), "{refused}");
    let scene = Scene::new();
    let empty = scene.write("empty", "\n");
    let refused = scene.variable("OCELLI_BROKER__URL_FILE", empty.to_str().unwrap()).refused();
    assert!(refused.contains("it is empty; it must be a text file"), "{refused}");
}

#[test]
fn of_a_secret_and_its_file_the_later_layer_wins_and_one_layer_may_not_set_both() {
    let scene = Scene::new();
    let file = scene.write("url", "amqp://from-file");
    let file = file.to_str().unwrap();
    let text = format!("[broker]\nurl_file = {file:?}\n");
    let scene = scene.file(&text).variable("OCELLI_BROKER__URL", "amqp://from-variable");
    assert_eq!(scene.load().settings.broker.url.expose(), "amqp://from-variable");
    let refused = scene.variable("OCELLI_BROKER__URL_FILE", file).refused();
    assert!(refused.contains("broker.url and broker.url_file are both set"), "{refused}");
}

#[test]
fn no_error_ever_prints_a_secret() {
    let text = "[broker]\nurl = [\"amqp://u:hunter2@h\"]\n[catalog]\nurl = \"mysql://u:hunter2@h/d\"\n[log]\nlevel = \"amqp://u:hunter2@h\"\n[analyzers.tesseract-ocr]\nlanguages = \"http://u:hunter2@h\"\n[analyzers.\"llama3.2-vision\"]\nendpoints = [{ url = \"ftp://u:hunter2@h\", api_key = \"hunter2\" }, { url = 5, api_key = \"hunter2\" }]\n[analyzers.gemma3-27b-vision]\nendpoints = [{ url = \"http://h\", api_key = [\"hunter2\"], apikey = \"hunter2\" }]\n";
    let refused = Scene::new().file(text).refused();
    assert!(!refused.contains("hunter2"), "{refused}");
    for key in ["broker.url", "catalog.url", "log.level", "languages", "endpoints[0].apikey"] {
        assert!(refused.contains(key), "{key} is missing in:\n{refused}");
    }
}
