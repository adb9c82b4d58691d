//! What the samples show. One list, in the order in which they are drawn.

mod chart;
mod grounds;
mod memes;
mod paper;
mod photos;
mod screens;

use crate::Sample;
use crate::encode::Encoding::{Bmp, Gif, Jpeg, Png, Tiff, TransparentPng, TurnedJpeg, WebP};

/// Every sample.
#[must_use]
pub fn samples() -> &'static [Sample] {
    &SAMPLES
}

static SAMPLES: [Sample; 20] = [
    Sample {
        file: "scaling-open-language-models.png",
        about: "a scatter chart of language models, with an excited remark",
        truth: &chart::TRUTH,
        encoding: Png,
        draw: chart::draw,
    },
    Sample {
        file: "meme-mountains.jpg",
        about: "outlined captions on a mountain range",
        truth: &["ONE DOES NOT SIMPLY", "READ A MILLION MEMES BY HAND"],
        encoding: Jpeg(85),
        draw: memes::mountains,
    },
    Sample {
        file: "meme-cat.png",
        about: "outlined captions on a cat in front of wallpaper",
        truth: &["When the queue is empty", "but the fridge is too"],
        encoding: Png,
        draw: memes::cat,
    },
    Sample {
        file: "meme-two-panels.webp",
        about: "two faces, no and yes, beside two sentences",
        truth: &[
            "Sorting ten years of",
            "screenshots by hand",
            "Asking a flock of",
            "small eyes to do it",
        ],
        encoding: WebP,
        draw: memes::panels,
    },
    Sample {
        file: "meme-city-night.gif",
        about: "outlined captions on city lights",
        truth: &["It works on my machine", "then we ship your machine"],
        encoding: Gif,
        draw: memes::city,
    },
    Sample {
        file: "meme-ocean.jpg",
        about: "outlined captions on breaking waves",
        truth: &["I was told", "there would be backpressure"],
        encoding: Jpeg(80),
        draw: memes::ocean,
    },
    Sample {
        file: "meme-party.png",
        about: "outlined captions on confetti",
        truth: &["All tests passed", "on the first try", "(there are no tests)"],
        encoding: Png,
        draw: memes::party,
    },
    Sample {
        file: "screen-terminal-dark.png",
        about: "a dark terminal window",
        truth: &screens::TERMINAL,
        encoding: Png,
        draw: screens::terminal,
    },
    Sample {
        file: "screen-settings-light.png",
        about: "a light settings window",
        truth: &screens::SETTINGS,
        encoding: Png,
        draw: screens::settings,
    },
    Sample {
        file: "screen-chat-dark.webp",
        about: "a dark chat on a telephone",
        truth: &screens::CHAT,
        encoding: WebP,
        draw: screens::chat,
    },
    Sample {
        file: "screen-post-light.png",
        about: "a light post with counters",
        truth: &screens::POST,
        encoding: Png,
        draw: screens::post,
    },
    Sample {
        file: "screen-error-dialog.bmp",
        about: "an error dialog of a desktop long gone",
        truth: &screens::DIALOG,
        encoding: Bmp,
        draw: screens::dialog,
    },
    Sample {
        file: "receipt.jpg",
        about: "a shop's receipt on a wooden table",
        truth: &paper::RECEIPT,
        encoding: Jpeg(88),
        draw: paper::receipt,
    },
    Sample {
        file: "scanned-page.tiff",
        about: "a page of a book, scanned a little askew",
        truth: &paper::PAGE,
        encoding: Tiff,
        draw: paper::page,
    },
    Sample {
        file: "note-transparent.png",
        about: "handwriting on nothing: the ground is transparent",
        truth: &["Buy milk", "Feed the rabbit", "Read the logs"],
        encoding: TransparentPng,
        draw: paper::note,
    },
    Sample {
        file: "poster.gif",
        about: "a concert poster",
        truth: &["THE DEAD LETTERS", "live at the Exchange", "FRIDAY 9 MAY", "doors open at 19:30"],
        encoding: Gif,
        draw: paper::poster,
    },
    Sample {
        file: "photo-shop-sign-turned.jpg",
        about: "a shop front, stored lying on its side as phones do (EXIF orientation 6)",
        truth: &["CORNER BAKERY", "OPEN", "8 AM TO 6 PM", "Fresh bread daily"],
        encoding: TurnedJpeg(86),
        draw: photos::shop,
    },
    Sample {
        file: "photo-road-sign.jpg",
        about: "a road sign in the desert",
        truth: &["Nowhere 12", "Somewhere 340", "Anywhere 1105"],
        encoding: Jpeg(84),
        draw: photos::road,
    },
    Sample {
        file: "photo-hills-no-text.jpg",
        about: "hills at dusk, without any text",
        truth: &[],
        encoding: Jpeg(84),
        draw: photos::hills,
    },
    Sample {
        file: "photo-balloons-no-text.webp",
        about: "balloons in the sky, without any text",
        truth: &[],
        encoding: WebP,
        draw: photos::balloons,
    },
];
