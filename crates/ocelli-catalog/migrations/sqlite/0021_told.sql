-- What its list says about a reference that failed, as JSON: time, digest and metadata. NULL: nothing, or an older ocelli did not keep it.
ALTER TABLE problems ADD COLUMN told TEXT;
