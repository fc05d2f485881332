//! The derive macro that makes one annotated struct into an XML parser and writer.
//!
//! `#[derive(Xml)]` on a struct describes one element. Field order is the order of writing. Each field says by
//! `#[xml(…)]` what it is; the word is the field's name unless another is given (`attr = "type"`):
//!
//! | word | the field is | types |
//! |---|---|---|
//! | `attr` | an attribute | `T`, `Option<T>` with `T: Value`; `hex = 4` writes `0x0000` |
//! | `text` | the element's own text | `T`, `Option<T>` with `T: Value` |
//! | `leaf` | a child element with only a text | `T`, `Option<T>` with `T: Value` |
//! | `leaves` | all children of that name, with only a text | `Vec<T>` with `T: Value` |
//! | `flag` | a child element that is there or not | `bool` |
//! | `child` | a child element | `T`, `Option<T>` with `T: Element`; a plain `T` is left out when empty, unless `required` |
//! | `children` | all children of that name | `Vec<T>` with `T: Element` |
//! | `flatten` | more attributes and children of the same element | `T: Part` |
//! | `foreign` | what no other field knows | `Foreign`; `known`: it is no fault that it is there |
//! | `foreign, keeps = "a @b"` | the same; element `a` and attribute `b` are libvirt's, so strict reading lets them pass | `Foreign` |
//! | `kept` | a child element that libvirt knows and Lodge does not yet, kept in its place | `Foreign` |
//!
//! Further words: `required` (its absence is a fault), `live` (written only in the live form), `secret` (written
//! only when asked for secrets), `live_unless_user` (an alias: live unless the user chose it), `double_quotes` (of
//! `foreign`: written as libxml2 does), `ahead = "field if method"` (of a `child`: written before that field where that
//! method of the struct says so).
//! On the struct: `#[xml(part)]` makes a `Part`, for `flatten`; `#[xml(open)]`
//! writes an end tag even when there is nothing inside, as libvirt does of some. On an enum: `#[xml(tag = "type")]`, each variant
//! with `#[xml(value = "pci")]` and one field, an element read from the same node.
//!
//! Deliberately absent: validation beyond a field's own text. What contradicts what is the model's `check`.

mod alternatives;
mod element;
mod field;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, parse_macro_input};

/// Makes the parser and writer of an element from the fields of its struct.
#[proc_macro_derive(Xml, attributes(xml))]
pub fn derive_xml(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let made = match &input.data {
        Data::Struct(data) => element::derive(&input, &data.fields),
        Data::Enum(data) => alternatives::derive(&input, data),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "an element is a struct or an enum")),
    };
    made.unwrap_or_else(syn::Error::into_compile_error).into()
}
