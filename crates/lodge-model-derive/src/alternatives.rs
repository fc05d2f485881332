//! An enum whose variants are elements chosen by one attribute: `<address type='pci' …/>`.

use crate::field::container_word;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Result};

/// Makes `Element` for an enum with `#[xml(tag = "…")]`.
pub fn derive(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let tag = container_word(&input.attrs, "tag")?
        .ok_or_else(|| syn::Error::new_spanned(ident, "needs #[xml(tag = \"…\")]"))?;
    let mut words = Vec::new();
    let mut variants = Vec::new();
    for variant in &data.variants {
        let word = container_word(&variant.attrs, "value")?
            .ok_or_else(|| syn::Error::new_spanned(variant, "needs #[xml(value = \"…\")]"))?;
        words.push(word);
        variants.push(&variant.ident);
    }
    Ok(quote! {
        impl ::lodge_model::xml::Element for #ident {
            fn read(
                node: ::lodge_model::xml::Node<'_, '_>,
                tag: &str,
                reader: &mut ::lodge_model::xml::Reader<'_>,
            ) -> ::core::option::Option<Self> {
                let _ = tag;
                match node.attribute(#tag) {
                    #(::core::option::Option::Some(#words) => {
                        ::core::option::Option::Some(Self::#variants(::lodge_model::xml::Element::read(node, #tag, reader)?))
                    })*
                    ::core::option::Option::Some(other) => {
                        reader.bad_word(node, #tag, other, &[#(#words),*]);
                        ::core::option::Option::None
                    }
                    ::core::option::Option::None => {
                        reader.missing_attribute(node, #tag);
                        ::core::option::Option::None
                    }
                }
            }

            fn write_attributes(&self, writer: &mut ::lodge_model::xml::Writer) {
                match self {
                    #(Self::#variants(inner) => {
                        writer.word_attribute(#tag, #words);
                        ::lodge_model::xml::Element::write_attributes(inner, writer);
                    })*
                }
            }

            fn write_content(&self, writer: &mut ::lodge_model::xml::Writer) {
                match self {
                    #(Self::#variants(inner) => ::lodge_model::xml::Element::write_content(inner, writer),)*
                }
            }

            fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ::lodge_model::xml::ForeignItem)) {
                match self {
                    #(Self::#variants(inner) => ::lodge_model::xml::Element::visit_foreign(inner, visit),)*
                }
            }

            fn forget_live(&mut self) {
                match self {
                    #(Self::#variants(inner) => ::lodge_model::xml::Element::forget_live(inner),)*
                }
            }
        }
    })
}
