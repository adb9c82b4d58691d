//! A small safe wrapper over Tesseract's C interface, reached through `leptess::capi`.
//!
//! The layers above `capi` cannot set a deadline and panic on a missing result, so this is the one file of the crate
//! with `unsafe`. It takes raw pixels only: no encoded image ever reaches Leptonica. Only children (see
//! [`crate::child`]), tests and the accuracy example make an engine; the worker process itself never does.

#![expect(unsafe_code, reason = "Tesseract is a C library; every call is in this file")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::time::Duration;

use leptess::capi;

use crate::data;

/// Tesseract refuses larger sides ("Image too large"); its coordinates are 16 bits wide.
pub const LARGEST_SIDE: u32 = 32_767;

/// How Tesseract looks for text in the pixels (its page segmentation modes that ocelli uses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 3: columns, blocks, lines.
    Page,
    /// 4: one column of lines of varying size.
    Column,
    /// 6: one block of lines.
    Block,
    /// 7: one line.
    Line,
    /// 11: as much text as possible, in no order.
    Sparse,
}

impl Layout {
    const fn raw(self) -> capi::TessPageSegMode {
        match self {
            Self::Page => capi::TessPageSegMode_PSM_AUTO,
            Self::Column => capi::TessPageSegMode_PSM_SINGLE_COLUMN,
            Self::Block => capi::TessPageSegMode_PSM_SINGLE_BLOCK,
            Self::Line => capi::TessPageSegMode_PSM_SINGLE_LINE,
            Self::Sparse => capi::TessPageSegMode_PSM_SPARSE_TEXT,
        }
    }
}

/// Why the engine could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library could not allocate an engine.
    #[error("Tesseract could not be created")]
    Create,
    /// No language data, unreadable data, or a data file of another version.
    #[error(
        "Tesseract could not load '{languages}' from {data_path}: a file is missing, damaged or of another version; {}",
        again(languages)
    )]
    Init {
        /// As asked.
        languages: String,
        /// Folder that was asked for.
        data_path: String,
    },
    /// A NUL byte in a setting.
    #[error("'{0}' contains a NUL byte")]
    Nul(String),
    /// Zero, too large, or not as many bytes as the sides say.
    #[error(
        "{width} x {height} pixels in {bytes} bytes cannot be read: each side must be 1 to {LARGEST_SIDE}"
    )]
    Pixels {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Length of the buffer.
        bytes: usize,
    },
}

/// What to do about data that cannot be loaded.
fn again(languages: &str) -> String {
    let names: Vec<String> = languages.split('+').map(str::to_owned).collect();
    format!("install {} again, or put whole files there", data::packages(&names).join(" "))
}

/// Raw pixels, row after row without padding.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// `width * height * channels` bytes.
    pub bytes: &'a [u8],
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u32,
}

/// When to stop reading before the end.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    /// Time for the words (layout analysis before them cannot be interrupted).
    pub deadline: Duration,
    /// Stop after about this many words, in the engine's sense of unsplit ones: often lines. `None`: read all.
    pub words: Option<u32>,
}

/// One word as Tesseract found it, in the pixels that it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Never blank.
    pub text: String,
    /// Left, top, right, bottom.
    pub bounds: [i32; 4],
    /// 0 to 100.
    pub confidence: f32,
    /// In the dictionary of the language, or a number.
    pub known: bool,
    /// It begins a text line.
    pub starts_line: bool,
    /// It begins a paragraph or block.
    pub starts_paragraph: bool,
}

/// What one call read.
#[derive(Debug, Clone, Default)]
pub struct Recognized {
    /// In reading order.
    pub words: Vec<Found>,
    /// False: the deadline or the word limit came first.
    pub complete: bool,
}

/// One Tesseract engine with its language data loaded. Stays on the thread that made it.
#[derive(Debug)]
pub struct Engine {
    handle: NonNull<capi::TessBaseAPI>,
    not_send: PhantomData<*const ()>,
}

/// Version of the linked library, as it tells it: `5.3.0`.
#[must_use]
pub fn version() -> String {
    // SAFETY: TessVersion returns a static NUL-terminated string.
    unsafe { CStr::from_ptr(capi::TessVersion()) }.to_string_lossy().into_owned()
}

impl Engine {
    /// Loads `languages` (`eng+deu`) from the folder of `*.traineddata` files.
    ///
    /// # Errors
    /// When the data is missing or unusable.
    pub fn new(data_path: &Path, languages: &str) -> Result<Self, EngineError> {
        let c_path = c_string(&data_path.to_string_lossy())?;
        let c_languages = c_string(languages)?;
        // SAFETY: no arguments; the result is checked for null.
        let handle =
            NonNull::new(unsafe { capi::TessBaseAPICreate() }).ok_or(EngineError::Create)?;
        let engine = Self { handle, not_send: PhantomData };
        // 6 = L_SEVERITY_NONE: Leptonica's remarks about odd images would fill the log of whoever runs the worker.
        // SAFETY: sets one global number; this process uses the library from one thread.
        unsafe { capi::setMsgSeverity(6) };
        // SAFETY: the handle is live, both strings are NUL-terminated and outlive the call.
        let code = unsafe {
            capi::TessBaseAPIInit2(
                handle.as_ptr(),
                c_path.as_ptr(),
                c_languages.as_ptr(),
                capi::TessOcrEngineMode_OEM_DEFAULT,
            )
        };
        if code != 0 {
            return Err(EngineError::Init {
                languages: languages.to_owned(),
                data_path: data_path.display().to_string(),
            });
        }
        Ok(engine)
    }

    /// Whether lines that read badly are tried with black and white exchanged, which doubles their cost.
    fn try_inverted(&mut self, on: bool) {
        let value = if on { c"1" } else { c"0" };
        // SAFETY: the handle is live and initialised, both strings are NUL-terminated. An unknown name changes nothing.
        unsafe {
            capi::TessBaseAPISetVariable(
                self.handle.as_ptr(),
                c"tessedit_do_invert".as_ptr(),
                value.as_ptr(),
            );
        }
    }

    /// Where the data was found.
    #[must_use]
    pub fn data_path(&self) -> PathBuf {
        // SAFETY: the handle is live; the string belongs to the engine and is copied at once.
        let path = unsafe { capi::TessBaseAPIGetDatapath(self.handle.as_ptr()) };
        if path.is_null() {
            return PathBuf::new();
        }
        // SAFETY: not null, NUL-terminated, valid until the next call on the engine.
        PathBuf::from(unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned())
    }

    /// Reads the pixels. Partial words come back with `complete: false` when `until` stops it.
    ///
    /// # Errors
    /// When the buffer is not what its sides say, or a side is out of range. Text is never an error.
    pub fn read(
        &mut self,
        pixels: Pixels<'_>,
        mode: Layout,
        resolution: u32,
        until: Until,
    ) -> Result<Recognized, EngineError> {
        let wrong = || EngineError::Pixels {
            width: pixels.width,
            height: pixels.height,
            bytes: pixels.bytes.len(),
        };
        let sides = 1..=LARGEST_SIDE;
        if !sides.contains(&pixels.width) || !sides.contains(&pixels.height) {
            return Err(wrong());
        }
        let line = pixels.width.checked_mul(pixels.channels).ok_or_else(wrong)?;
        let total = u64::from(line) * u64::from(pixels.height);
        // Tesseract multiplies height and line length as C ints.
        if total != pixels.bytes.len() as u64
            || total > i32::MAX as u64
            || !matches!(pixels.channels, 1 | 3)
        {
            return Err(wrong());
        }
        // Single lines are drawn black on white.
        self.try_inverted(mode != Layout::Line);
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live; the buffer holds exactly height * line bytes (checked above) and Tesseract copies
        // it during the call; every number fits a C int (checked above).
        unsafe {
            capi::TessBaseAPISetPageSegMode(handle, mode.raw());
            capi::TessBaseAPISetImage(
                handle,
                pixels.bytes.as_ptr(),
                pixels.width as c_int,
                pixels.height as c_int,
                pixels.channels as c_int,
                line as c_int,
            );
            capi::TessBaseAPISetSourceResolution(handle, resolution.clamp(70, 2400) as c_int);
        }
        let complete = self.recognize(until);
        let mut words = self.words();
        for word in words.iter_mut().filter(|word| !word.known) {
            // Capitals and attached punctuation hide a word from the library's own flag.
            let bare = word.text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            word.known = bare.chars().nth(1).is_some() && self.knows(&bare);
        }
        // SAFETY: the handle is live. Frees the pixels and results, keeps the language data.
        unsafe { capi::TessBaseAPIClear(handle) };
        Ok(Recognized { words, complete })
    }

    fn recognize(&self, until: Until) -> bool {
        /// Called by Tesseract before each word. Its second argument is the number of all words, not of those read.
        unsafe extern "C" fn enough(left: *mut c_void, _all: c_int) -> bool {
            // SAFETY: `left` is the address of the u32 below, which lives through the whole recognition and is
            // touched by nothing else meanwhile.
            let left = unsafe { &mut *left.cast::<u32>() };
            let stop = *left == 0;
            *left = left.saturating_sub(1);
            stop
        }
        let mut limit = until.words;
        let milliseconds = c_int::try_from(until.deadline.as_millis()).unwrap_or(c_int::MAX).max(1);
        // SAFETY: the monitor is created, used and deleted here; `limit` outlives the recognition; the handle is live.
        unsafe {
            let monitor = capi::TessMonitorCreate();
            if !monitor.is_null() {
                capi::TessMonitorSetDeadlineMSecs(monitor, milliseconds);
                if let Some(limit) = &mut limit {
                    capi::TessMonitorSetCancelThis(monitor, ptr::from_mut(limit).cast());
                    capi::TessMonitorSetCancelFunc(monitor, Some(enough));
                }
            }
            let code = capi::TessBaseAPIRecognize(self.handle.as_ptr(), monitor);
            if !monitor.is_null() {
                capi::TessMonitorDelete(monitor);
            }
            code == 0
        }
    }

    fn words(&self) -> Vec<Found> {
        const WORD: capi::TessPageIteratorLevel = capi::TessPageIteratorLevel_RIL_WORD;
        let mut words = Vec::new();
        // SAFETY: the iterator is null (no text) or valid until deleted below, before anything else touches the engine;
        // its page iterator is the same object seen as its base class and is not deleted by itself.
        unsafe {
            let iterator = capi::TessBaseAPIGetIterator(self.handle.as_ptr());
            if iterator.is_null() {
                return words;
            }
            let page = capi::TessResultIteratorGetPageIterator(iterator);
            let starts = |level| capi::TessPageIteratorIsAtBeginningOf(page, level) != 0;
            // A word that is dropped (blank) hands its line start on to the next one.
            let (mut line, mut paragraph) = (true, true);
            loop {
                line |= starts(capi::TessPageIteratorLevel_RIL_TEXTLINE);
                paragraph |= starts(capi::TessPageIteratorLevel_RIL_PARA)
                    || starts(capi::TessPageIteratorLevel_RIL_BLOCK);
                let text = take_text(capi::TessResultIteratorGetUTF8Text(iterator, WORD));
                let mut bounds: [c_int; 4] = [0; 4];
                let [left, top, right, bottom] = &mut bounds;
                let boxed =
                    capi::TessPageIteratorBoundingBox(page, WORD, left, top, right, bottom) != 0;
                let text = text.trim();
                if boxed && !text.is_empty() {
                    words.push(Found {
                        text: text.to_owned(),
                        bounds,
                        confidence: capi::TessResultIteratorConfidence(iterator, WORD)
                            .clamp(0.0, 100.0),
                        known: capi::TessResultIteratorWordIsFromDictionary(iterator) != 0
                            || capi::TessResultIteratorWordIsNumeric(iterator) != 0,
                        starts_line: line,
                        starts_paragraph: paragraph,
                    });
                    (line, paragraph) = (false, false);
                }
                if capi::TessResultIteratorNext(iterator, WORD) == 0 {
                    break;
                }
            }
            capi::TessResultIteratorDelete(iterator);
        }
        words
    }

    /// Whether the dictionaries know the word.
    #[must_use]
    pub fn knows(&self, word: &str) -> bool {
        let Ok(word) = CString::new(word) else { return false };
        // SAFETY: the handle is live and initialised, the string is NUL-terminated.
        unsafe { capi::TessBaseAPIIsValidWord(self.handle.as_ptr(), word.as_ptr()) != 0 }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: the handle is live and never used again.
        unsafe { capi::TessBaseAPIDelete(self.handle.as_ptr()) };
    }
}

fn c_string(text: &str) -> Result<CString, EngineError> {
    CString::new(text).map_err(|_| EngineError::Nul(text.replace('\0', "\\0")))
}

/// Copies and frees a text that Tesseract allocated.
unsafe fn take_text(text: *mut c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller passes a NUL-terminated string of Tesseract's, owned by the caller.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        capi::TessDeleteText(text);
        copy
    }
}
