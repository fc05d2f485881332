//! The derive macro that makes one annotated struct into an XML parser and writer.
