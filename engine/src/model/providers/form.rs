//! A form with a file, as `multipart/form-data`.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// A form whose last field is a file.
pub(super) struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// For this file, whose bytes decide what stands between the fields: it is not in them.
    pub(super) fn new(file: &[u8]) -> Self {
        Self {
            boundary: format!("flowstate-{:016x}", xxh3_64(file)),
            body: Vec::new(),
        }
    }

    /// A field of text.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.field(&format!("name=\"{name}\""), None, value.as_bytes());
        self
    }

    /// The file, of this media type; gives the form's own media type, and the form.
    pub(super) fn file(mut self, name: &str, media_type: Option<&str>, file: &[u8]) -> (String, Bytes) {
        let is_plain = |text: &&str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let media_type = media_type.filter(is_plain).unwrap_or("application/octet-stream");
        let extension = extension(media_type);
        let what = format!("name=\"{name}\"; filename=\"audio.{extension}\"");
        self.field(&what, Some(media_type), file);
        self.body
            .extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        let of_form = format!("multipart/form-data; boundary={}", self.boundary);
        (of_form, self.body.into())
    }

    fn field(&mut self, what: &str, media_type: Option<&str>, value: &[u8]) {
        let mut head = format!("--{}\r\ncontent-disposition: form-data; {what}\r\n", self.boundary);
        if let Some(media_type) = media_type {
            head.push_str(&format!("content-type: {media_type}\r\n"));
        }
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(value);
        self.body.extend_from_slice(b"\r\n");
    }
}

/// What servers tell formats by.
fn extension(media_type: &str) -> &'static str {
    let plain = media_type.split(';').next().unwrap_or_default().trim();
    match plain.to_ascii_lowercase().as_str() {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mp4" | "video/mp4" => "mp4",
        "audio/m4a" | "audio/x-m4a" => "m4a",
        "audio/ogg" => "ogg",
        "audio/flac" | "audio/x-flac" => "flac",
        // What browsers record.
        _ => "webm",
    }
}
