//! Who reads and writes which buckets, at which servers.

use std::fmt;

use ocelli_core::object::{Cloud, Object};

/// The settings `[objects]`. What is not given comes from the environment, as each cloud's own programs read it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// The server of `s3:` (setting `objects.endpoint`); none: Amazon's, or that of the environment.
    pub endpoint: Option<String>,
    /// Its region (setting `objects.region`).
    pub region: Option<String>,
    /// The key and its secret; none: those of the environment.
    pub credentials: Option<(String, String)>,
    /// The server of `gs:` (setting `objects.gs_endpoint`); none: Google's.
    pub gs_endpoint: Option<String>,
    /// The key of a service account, as JSON (setting `objects.gs_key`).
    pub gs_key: Option<String>,
    /// The server of `az:` (setting `objects.az_endpoint`); none: that of the account at Azure.
    pub az_endpoint: Option<String>,
    /// The storage account (setting `objects.az_account`).
    pub az_account: Option<String>,
    /// Its key (setting `objects.az_key`).
    pub az_key: Option<String>,
    /// The only buckets that are read: `name`, or `gs://name`, `az://name`; empty: all that the credentials reach (setting
    /// `objects.buckets`).
    pub buckets: Vec<String>,
}

impl ObjectOptions {
    /// Whether the setting `objects.buckets` lets this be read and written.
    pub(crate) fn allow(&self, object: &Object) -> bool {
        let is_it = |listed: &String| {
            let (cloud, name) = match listed.split_once("://") {
                Some((scheme, name)) => (Cloud::of_scheme(scheme), name.trim_end_matches('/')),
                None => (Some(Cloud::S3), listed.as_str()),
            };
            cloud == Some(object.cloud) && name == object.bucket
        };
        self.buckets.is_empty() || self.buckets.iter().any(is_it)
    }
}

impl fmt::Debug for ObjectOptions {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("credentials", &self.credentials.as_ref().map(|_| "***"))
            .field("gs_endpoint", &self.gs_endpoint)
            .field("gs_key", &self.gs_key.as_ref().map(|_| "***"))
            .field("az_endpoint", &self.az_endpoint)
            .field("az_account", &self.az_account)
            .field("az_key", &self.az_key.as_ref().map(|_| "***"))
            .field("buckets", &self.buckets)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_logged_show_no_secret() {
        let secret = || Some("very-secret".to_owned());
        let options = ObjectOptions {
            credentials: Some(("AKIA-public".to_owned(), "very-secret".to_owned())),
            gs_key: secret(),
            az_key: secret(),
            ..ObjectOptions::default()
        };
        assert!(!format!("{options:?}").contains("very-secret"));
    }

    #[test]
    fn a_bucket_is_listed_with_its_protocol_and_without_one_it_is_of_s3() {
        let buckets = ["a-bucket", "gs://pictures", "az://pictures/"].map(str::to_owned).to_vec();
        let options = ObjectOptions { buckets, ..ObjectOptions::default() };
        for (uri, allowed) in [
            ("s3://a-bucket/a", true),
            ("gs://a-bucket/a", false),
            ("gs://pictures/a", true),
            ("az://pictures/a", true),
            ("s3://pictures/a", false),
        ] {
            let uri: ocelli_core::SourceUri = uri.parse().unwrap();
            assert_eq!(options.allow(&uri.object().unwrap()), allowed, "{uri}");
        }
    }
}
