//! What a double says: computed from the request, so that a test can tell whether the prompt and the image arrived.

use super::Behaviour;

/// The headings that a prompt asks for: its lines that begin with `## `.
#[must_use]
pub fn headings(prompt: &str) -> Vec<String> {
    prompt
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|h| h.trim().to_owned())
        .collect()
}

/// The proper answer of `model` to `prompt` about the image with `digest`: one section for each heading the prompt asks
/// for and a disclaimer, or one paragraph when it asks for none. Names the model and the image.
#[must_use]
pub fn answer_text(model: &str, prompt: &str, digest: &str) -> String {
    sections(model, &headings(prompt), digest)
}

fn sections(model: &str, headings: &[String], digest: &str) -> String {
    let image = &digest[..digest.len().min(12)];
    if headings.is_empty() {
        return format!(
            "The meme is a humorous image, received as {image}, and explained here by the double of {model}. \
             It jokes that nobody has looked at it."
        );
    }
    let mut text = String::new();
    for heading in headings {
        text.push_str(&format!(
            "## {heading}\n\nSeen through the lens of {heading}, the image {image} says something else. \
             The double of {model} has not looked at it.\n\n"
        ));
    }
    text.push_str("**Disclaimer:** Written by a double; no model has seen the image.");
    text
}

/// What the model inside the double would have produced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) model: String,
    pub(super) text: String,
    pub(super) thoughts: String,
    pub(super) finish: Finish,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    NotDone,
}

/// What is known of a chat request, whatever the protocol.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) prompt: String,
    pub(super) digest: String,
    pub(super) temperature: f64,
    pub(super) budget: u64,
    pub(super) thinking_off: bool,
}

/// The reply for the behaviours that are about what a model writes.
pub(super) fn reply(asked: &Asked, behaviour: &Behaviour) -> Reply {
    let proper = answer_text(&asked.model, &asked.prompt, &asked.digest);
    let mut reply = Reply {
        model: asked.model.clone(),
        text: proper.clone(),
        thoughts: String::new(),
        finish: Finish::Stop,
        tokens_in: 300 + asked.prompt.split_whitespace().count() as u64,
        tokens_out: 0,
    };
    let cut = |text: &str| text.chars().take(text.chars().count() * 2 / 3).collect::<String>();
    match behaviour {
        Behaviour::Text(text) => reply.text.clone_from(text),
        Behaviour::NotFinished => reply.finish = Finish::NotDone,
        Behaviour::CutOff => {
            reply.text = cut(&proper);
            reply.finish = Finish::Length;
        }
        Behaviour::CutOffBelow(budget) if asked.budget < *budget => {
            reply.text = cut(&proper);
            reply.finish = Finish::Length;
        }
        Behaviour::Repeats => reply.text = looped(&proper),
        Behaviour::RepeatsBelow(temperature) if asked.temperature < *temperature => {
            reply.text = looped(&proper);
        }
        Behaviour::Empty => reply.text = "\n  \n".to_owned(),
        Behaviour::ThinksUnlessTold if !asked.thinking_off => {
            reply.thoughts = "Let me look at this for a very long time.".to_owned();
            reply.text.clear();
            reply.finish = Finish::Length;
        }
        Behaviour::Refuses => {
            reply.text = "I'm sorry, but I can't help with analyzing this image.".to_owned();
        }
        Behaviour::MissingSections => {
            let some: Vec<_> = headings(&asked.prompt).into_iter().take(2).collect();
            reply.text = sections(&asked.model, &some, &asked.digest);
        }
        Behaviour::Preamble => {
            reply.text = format!("Sure! Here is my analysis of the image:\n\n{proper}");
        }
        Behaviour::OtherModel => reply.model = "some-other-model".to_owned(),
        Behaviour::ControlCharacters => {
            reply.text = format!(
                "\u{7}{proper}\r\nred \u{1b}[31mtext\u{0}<script>alert(1)</script>\tend\u{85}"
            );
        }
        _ => {}
    }
    let written = reply.text.split_whitespace().count() + reply.thoughts.split_whitespace().count();
    reply.tokens_out = written as u64;
    reply
}

fn looped(proper: &str) -> String {
    let start: String = proper.chars().take(120).collect();
    format!("{start} {}", "and the image shows a graph, ".repeat(80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_follows_the_headings_of_the_prompt_and_names_the_image() {
        let prompt = "Write:\n\n## One\n## Two Three\n\n- not ## this";
        assert_eq!(headings(prompt), ["One", "Two Three"]);
        let text = answer_text("m", prompt, "0123456789abcdef");
        assert!(text.starts_with("## One\n"));
        assert!(text.contains("\n## Two Three\n"));
        assert!(text.contains("0123456789ab") && text.contains("double of m"));
        assert!(!answer_text("m", "explain", "0123456789abcdef").contains('#'));
    }
}
