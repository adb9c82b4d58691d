//! Servers of buckets, and what is named in them.

use std::path::Path;

use ocelli_core::SourceUri;
use ocelli_core::object::Cloud;
use url::Url;

use super::Checker;
use crate::settings::model::{DataSettings, ObjectSettings};

impl Checker<'_> {
    pub(super) fn objects(&mut self, objects: &ObjectSettings) {
        let is_address = |text: &String| {
            let url = Url::parse(text);
            url.is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.password().is_none()
            })
        };
        let reason = "expected \"https://host\" without a password";
        for (field, endpoint) in [
            ("endpoint", &objects.endpoint),
            ("gs_endpoint", &objects.gs_endpoint),
            ("az_endpoint", &objects.az_endpoint),
        ] {
            self.need(endpoint.as_ref().is_none_or(is_address), &["objects", field], reason);
        }
        for bucket in &objects.buckets {
            let is_bucket = match bucket.split_once("://") {
                Some((scheme, name)) => Cloud::of_scheme(scheme).is_some() && !name.is_empty(),
                None => !bucket.contains([':', '/']),
            };
            let reason = "expected names of buckets: \"name\", \"gs://name\", \"az://name\"";
            self.need(is_bucket, &["objects", "buckets"], reason);
        }
        let both = objects.access_key.is_some() == objects.secret_key.is_some();
        let reason = "expected objects.access_key and objects.secret_key, or neither";
        self.need(both, &["objects", "access_key"], reason);
    }

    /// A folder, or a prefix of a bucket. The name of one object would be taken for a prefix by surprise.
    pub(super) fn kept(&mut self, data: &DataSettings) {
        let Some(text) = data.kept.as_ref() else { return };
        let is_place = if text.contains("://") {
            let uri: Result<SourceUri, _> = text.parse();
            let prefix = uri.ok().and_then(|uri| uri.object());
            // Those of gs: are only read.
            prefix.is_some_and(|prefix| prefix.is_prefix() && prefix.cloud != Cloud::Gs)
        } else {
            Path::new(text).is_absolute()
        };
        let reason = "expected an absolute path, or \"s3://bucket/prefix/\" (or az:) with a slash at its end";
        self.need(is_place, &["data", "kept"], reason);
    }
}
