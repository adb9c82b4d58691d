//! Whether an endpoint answers, has the model, and the model can see. Small requests only, except after trouble with key or
//! quota: whether that is over, only a question to the model can tell.

use bytes::Bytes;

use crate::completion::Call;
use crate::failure::{CallError, Kind};
use crate::http::Http;
use crate::options::{LlmOptions, Protocol};
use crate::wire::{self, clip, ollama, openai};

/// What a server tells about itself and the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Program and version, where told.
    pub(crate) engine: String,
    /// Digest of the model, where told.
    pub(crate) digest: Option<String>,
    /// What makes answers come later than they could, where told: nothing stands in the way of work.
    pub(crate) remark: Option<String>,
}

/// Looks at one endpoint; the error is in words for people and says what to do.
pub(crate) async fn look(http: &Http, options: &LlmOptions) -> Result<Seen, String> {
    match options.protocol {
        Protocol::Ollama => look_at_ollama(http, &options.model, options.context_tokens).await,
        Protocol::OpenAi => look_at_openai(http, &options.model).await,
    }
}

/// Asks the model one tiny question without an image.
pub(crate) async fn ask_tiny(http: &Http, options: &LlmOptions) -> Result<(), String> {
    let call = Call {
        system: "",
        user: "Say yes.",
        picture: None,
        temperature: options.temperatures.first().copied().unwrap_or_default(),
        max_tokens: 16,
        think_off: false,
    };
    let body = wire::chat_body(options, &call).bytes;
    let response = http.small(wire::chat_path(options.protocol), Some(body)).await;
    match response.and_then(crate::http::Response::ok) {
        Ok(_) => Ok(()),
        // It works again, but has other things to do.
        Err(error) if matches!(error.kind, Kind::Busy(_)) => Ok(()),
        Err(error) => Err(error.reason),
    }
}

async fn get<T: serde::de::DeserializeOwned>(
    http: &Http,
    path: &str,
    body: Option<Bytes>,
) -> Result<T, CallError> {
    let (body, html) = http.small(path, body).await?.ok()?;
    serde_json::from_slice(&body).map_err(|error| {
        let told = if html {
            "it answers with an HTML page: this address is not a model server's".to_owned()
        } else {
            format!("its answer to /{path} is not understood: {}", clip(&error.to_string()))
        };
        CallError::new(Kind::Stranger, told)
    })
}

async fn look_at_ollama(http: &Http, model: &str, context_tokens: u32) -> Result<Seen, String> {
    let version: ollama::Version = match get(http, "api/version", None).await {
        Ok(version) => version,
        Err(error) if error.reason.starts_with("HTTP 404") => {
            return Err(
                "it is no Ollama server (no /api/version); is its protocol 'openai'?".into()
            );
        }
        Err(error) if error.kind == Kind::Unreachable => {
            return Err(format!("{}; start it with `ollama serve`", error.reason));
        }
        Err(error) => return Err(error.reason),
    };
    let tags: ollama::Tags = get(http, "api/tags", None).await.map_err(|error| error.reason)?;
    let tag = tags.models.into_iter().find(|tag| is_installed_as(&tag.name, model));
    let Some(tag) = tag else {
        return Err(format!("the model '{model}' is not there; run `ollama pull {model}`"));
    };
    let question = serde_json::json!({ "model": model }).to_string().into();
    let show: ollama::Show =
        get(http, "api/show", Some(question)).await.map_err(|error| error.reason)?;
    // Servers before 0.6.4 do not tell; their first answer will.
    if show.capabilities.is_some_and(|can| !can.iter().any(|c| c == "vision")) {
        return Err(format!("the model '{model}' cannot see images; choose one with vision"));
    }
    // Nothing depends on this: where it is not offered or refused, nothing is said.
    let running = get::<ollama::Running>(http, "api/ps", None).await.ok();
    let remark = running.and_then(|running| {
        let loaded = running.models.iter().find(|loaded| is_installed_as(&loaded.name, model));
        loaded.map_or_else(
            || Some("it is not loaded: the first answer waits until it is".to_owned()),
            |loaded| loaded.remark(context_tokens),
        )
    });
    Ok(Seen {
        remark,
        engine: format!("ollama {}", clip(&version.version)),
        digest: Some(tag.digest).filter(|digest| !digest.is_empty()).map(|digest| clip(&digest)),
    })
}

/// Ollama completes a name without a tag by `:latest`; apart from that names must be equal.
fn is_installed_as(installed: &str, asked: &str) -> bool {
    let full = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or_default();
        if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
    };
    full(installed).eq_ignore_ascii_case(&full(asked))
}

async fn look_at_openai(http: &Http, model: &str) -> Result<Seen, String> {
    let seen = Seen { engine: "openai".to_owned(), digest: None, remark: None };
    let models: openai::Models = match get(http, "v1/models", None).await {
        Ok(models) => models,
        // Some servers have no list of their own (404), or fail over it (500): the first question will tell.
        Err(error)
            if ["HTTP 404", "HTTP 405", "HTTP 500", "HTTP 501"]
                .iter()
                .any(|status| error.reason.starts_with(status)) =>
        {
            return Ok(seen);
        }
        Err(error) => return Err(error.reason),
    };
    let found = models.data.iter().find(|listed| crate::checks::is_same_model(&listed.id, model));
    let Some(found) = found else {
        let names: Vec<_> = models.data.iter().take(5).map(|listed| clip(&listed.id)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(format!("the model '{model}' is not there; it offers: {names}"));
    };
    let inputs = found.architecture.as_ref().and_then(|a| a.input_modalities.as_ref());
    let blind = inputs.is_some_and(|inputs| !inputs.iter().any(|input| input == "image"))
        || models.models.iter().any(|described| {
            described.capabilities.as_ref().is_some_and(|can| {
                !can.iter().any(|c| matches!(c.as_str(), "multimodal" | "vision"))
            })
        });
    if blind {
        return Err(format!(
            "the model '{model}' cannot see images; choose one with vision, or start the server with its projector"
        ));
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_model_is_found_with_and_without_its_tag() {
        for (installed, asked) in [
            ("gemma3:27b", "gemma3:27b"),
            ("llama3.2-vision:latest", "llama3.2-vision"),
            ("llama3.2-vision", "llama3.2-vision:latest"),
            ("hf.co/Me/Model:Q4_K_M", "hf.co/me/model:q4_k_m"),
        ] {
            assert!(is_installed_as(installed, asked), "{installed} {asked}");
        }
        assert!(!is_installed_as("gemma3:4b", "gemma3:27b"));
        assert!(!is_installed_as("gemma3:27b", "gemma3"));
    }
}
