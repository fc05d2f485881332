//! A struct as one element: its reading, its writing, and the walk over what it does not know.

use crate::field::{Role, Shape, XmlField, container_word};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Fields, Result};

/// Makes `Element` (or `Part`) for a struct.
pub fn derive(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let fields = fields.iter().map(XmlField::read).collect::<Result<Vec<_>>>()?;
    let writing = writing(&fields);
    let visiting = visiting(&fields);
    let forgetting = forgetting(&fields);
    if container_word(&input.attrs, "part")?.is_some() {
        return Ok(part(input, &fields, &writing, &visiting, &forgetting));
    }
    let ident = &input.ident;
    let reading = reading(&fields);
    let (attributes, content) = (&writing.attributes, &writing.content);
    let open = container_word(&input.attrs, "open")?.map(|_| quote!(writer.close_start_tag();));
    Ok(quote! {
        impl ::lodge_model::xml::Element for #ident {
            #reading

            fn write_attributes(&self, writer: &mut ::lodge_model::xml::Writer) {
                #(#attributes)*
            }

            fn write_content(&self, writer: &mut ::lodge_model::xml::Writer) {
                #open
                #(#content)*
            }

            fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ::lodge_model::xml::ForeignItem)) {
                #(#visiting)*
            }

            fn forget_live(&mut self) {
                #(#forgetting)*
            }
        }
    })
}

/// Where a field's value is kept while its element is read.
fn slot(field: &XmlField) -> proc_macro2::Ident {
    format_ident!("slot_{}", field.ident)
}

/// The foreign field's slot, as an argument.
fn foreign_slot(fields: &[XmlField]) -> TokenStream {
    let Some(field) = fields.iter().find(|field| field.role == Role::Foreign) else {
        return quote!(::core::option::Option::None, false);
    };
    let (slot, known) = (slot(field), field.known);
    quote!(::core::option::Option::Some(&mut #slot), #known)
}

fn reading(fields: &[XmlField]) -> TokenStream {
    let declare = fields.iter().map(|field| {
        let (slot, inner) = (slot(field), &field.inner);
        match (field.role, field.shape) {
            (Role::Flag, _) => quote!(let mut #slot = false;),
            (Role::Flatten | Role::Foreign | Role::Kept, _) => {
                quote!(let mut #slot = <#inner as ::core::default::Default>::default();)
            }
            (_, Shape::Vec) => quote!(let mut #slot = ::std::vec::Vec::<#inner>::new();),
            (_, Shape::Plain | Shape::Option) => {
                quote!(let mut #slot: ::core::option::Option<#inner> = ::core::option::Option::None;)
            }
        }
    });
    let foreign = foreign_slot(fields);
    let attribute_arms = fields.iter().filter(|field| field.role == Role::Attr).map(|field| {
        let (slot, name) = (slot(field), &field.name);
        let read = if field.hex.is_some() { quote!(number_attribute) } else { quote!(attribute) };
        quote!(#name => #slot = reader.#read(node, &attribute),)
    });
    let child_arms = fields.iter().filter_map(|field| child_arm(field, &slot(field), &foreign));
    let (parts_attribute, parts_child) = parts(fields);
    let keeps = || fields.iter().flat_map(|field| &field.keeps);
    let kept_attributes = keeps().filter_map(|word| word.strip_prefix('@')).map(|name| {
        quote!(#name => reader.unknown_attribute(node, &attribute, ::core::option::Option::Some(&mut slot_foreign), true),)
    });
    let kept_children = keeps().filter(|word| !word.starts_with('@')).map(|name| {
        quote!(("", #name) => reader.unknown_element(child, ::core::option::Option::Some(&mut slot_foreign), true),)
    });
    let text = fields.iter().find(|field| field.role == Role::Text).map(|field| {
        let slot = slot(field);
        quote!(#slot = reader.text(node);)
    });
    let knows_text = text.is_some();
    let require = fields.iter().filter(|field| field.required).map(|field| {
        let (slot, name) = (slot(field), &field.name);
        let missing =
            if field.role == Role::Attr { quote!(missing_attribute) } else { quote!(missing_child) };
        quote!(if #slot.is_none() { reader.#missing(node, #name); })
    });
    let finish = fields.iter().map(|field| {
        let (ident, slot) = (&field.ident, slot(field));
        match (field.role, field.shape) {
            (Role::Flag | Role::Flatten | Role::Foreign | Role::Kept, _) | (_, Shape::Option) => {
                quote!(#ident: #slot,)
            }
            (_, Shape::Vec) => quote!(#ident: { #slot.shrink_to_fit(); #slot },),
            (_, Shape::Plain) if field.required => quote!(#ident: #slot?,),
            (_, Shape::Plain) => quote!(#ident: #slot.unwrap_or_default(),),
        }
    });
    quote! {
        fn read(
            node: ::lodge_model::xml::Node<'_, '_>,
            tag: &str,
            reader: &mut ::lodge_model::xml::Reader<'_>,
        ) -> ::core::option::Option<Self> {
            #(#declare)*
            for attribute in node.attributes() {
                match ::lodge_model::xml::attribute_key(&attribute) {
                    #(#attribute_arms)*
                    #(#kept_attributes)*
                    name if !tag.is_empty() && name == tag => {}
                    #(#parts_attribute)*
                    _ => reader.unknown_attribute(node, &attribute, #foreign),
                }
            }
            for child in node.children() {
                if !child.is_element() {
                    reader.stray_text(child, #knows_text);
                    continue;
                }
                match ::lodge_model::xml::element_key(child) {
                    #(#child_arms)*
                    #(#kept_children)*
                    #(#parts_child)*
                    _ => reader.unknown_element(child, #foreign),
                }
            }
            #text
            #(#require)*
            ::core::option::Option::Some(Self { #(#finish)* })
        }
    }
}

/// The match arm that takes a child element into a field.
fn child_arm(field: &XmlField, slot: &proc_macro2::Ident, foreign: &TokenStream) -> Option<TokenStream> {
    let (prefix, name) = (&field.prefix, &field.name);
    let keeps = field.keeps.iter().map(|name| name.trim_start_matches('@'));
    let body = match field.role {
        Role::Leaf => {
            quote!(if reader.first(child, #slot.is_none()) { #slot = reader.leaf(child, #foreign); })
        }
        Role::Leaves => quote!(#slot.extend(reader.leaf(child, #foreign))),
        Role::Flag => quote! {{
            reader.flag(child, #foreign, &[#(#keeps),*]);
            #slot = true;
        }},
        Role::Child => quote! {
            if reader.first(child, #slot.is_none()) {
                #slot = ::lodge_model::xml::Element::read(child, "", reader);
            }
        },
        // By a loop: what is `Copy` could be extended by in two ways.
        Role::Children => quote!(if let Some(one) = ::lodge_model::xml::Element::read(child, "", reader) {
            #slot.push(one);
        }),
        Role::Kept => {
            quote!(reader.unknown_element(child, ::core::option::Option::Some(&mut #slot), true))
        }
        Role::Attr | Role::Text | Role::Flatten | Role::Foreign => return None,
    };
    Some(quote!((#prefix, #name) => #body,))
}

/// Guards that offer attributes and children to flattened fields.
fn parts(fields: &[XmlField]) -> (Vec<TokenStream>, Vec<TokenStream>) {
    let flattened: Vec<_> = fields.iter().filter(|field| field.role == Role::Flatten).map(slot).collect();
    let attributes = flattened
        .iter()
        .map(|slot| quote!(_ if ::lodge_model::xml::Part::take_attribute(&mut #slot, node, &attribute, reader) => {}));
    let children = flattened
        .iter()
        .map(|slot| quote!(_ if ::lodge_model::xml::Part::take_child(&mut #slot, child, reader) => {}));
    (attributes.collect(), children.collect())
}

/// The statements that write a struct.
struct Writing {
    attributes: Vec<TokenStream>,
    content: Vec<TokenStream>,
}

fn writing(fields: &[XmlField]) -> Writing {
    let mut made = Writing { attributes: Vec::new(), content: Vec::new() };
    let mut last = Vec::new();
    let foreign = fields.iter().find(|field| field.role == Role::Foreign).map_or_else(
        || quote!(::core::option::Option::None),
        |field| {
            let ident = &field.ident;
            quote!(::core::option::Option::Some(&self.#ident))
        },
    );
    for field in fields {
        let (ident, name, prefix) = (&field.ident, &field.name, &field.prefix);
        let tag = if prefix.is_empty() { name.clone() } else { format!("{prefix}:{name}") };
        let guarded = |statement: TokenStream| guard(field, &statement);
        for moved in fields {
            let Some((before, condition)) = &moved.ahead else { continue };
            if *ident == before {
                let statement = guard(moved, &write_child(moved));
                made.content.push(quote!(if self.#condition() { #statement }));
            }
        }
        match field.role {
            Role::Attr => made.attributes.push(guarded(write_attribute(field))),
            Role::Text => made.content.push(match field.shape {
                Shape::Option => quote!(if let ::core::option::Option::Some(value) = &self.#ident { writer.text(value); }),
                Shape::Plain | Shape::Vec => quote!(writer.text(&self.#ident);),
            }),
            Role::Leaf => made.content.push(guarded(match field.shape {
                Shape::Option => {
                    quote!(if let ::core::option::Option::Some(value) = &self.#ident { writer.leaf(#tag, value, #foreign); })
                }
                Shape::Plain | Shape::Vec => quote!(writer.leaf_unless_empty(#tag, &self.#ident, #foreign);),
            })),
            Role::Leaves => made.content.push(quote!(for value in &self.#ident { writer.leaf(#tag, value, #foreign); })),
            Role::Flag => made.content.push(quote!(if self.#ident { writer.flag(#tag, #foreign); })),
            Role::Child => {
                let statement = guarded(write_child(field));
                made.content.push(match &field.ahead {
                    Some((_, condition)) => quote!(if !self.#condition() { #statement }),
                    None => statement,
                });
            }
            Role::Children => made.content.push(quote!(for value in &self.#ident { writer.child(#tag, value); })),
            Role::Flatten => {
                made.attributes.push(quote!(::lodge_model::xml::Part::write_attributes(&self.#ident, writer);));
                made.content.push(quote!(::lodge_model::xml::Part::write_content(&self.#ident, writer);));
            }
            Role::Kept => made.content.push(guarded(quote!(writer.foreign_elements(&self.#ident, false);))),
            Role::Foreign => {
                let double = field.double_quotes;
                last.push(quote!(writer.foreign_attributes(&self.#ident);));
                made.content.push(quote!(writer.foreign_elements(&self.#ident, #double);));
            }
        }
        if !prefix.is_empty() && field.role == Role::Child {
            last.push(quote!(if self.#ident.is_some() { writer.namespace(#prefix); }));
        }
    }
    made.attributes.extend(last);
    made
}

fn write_child(field: &XmlField) -> TokenStream {
    let (ident, name, prefix) = (&field.ident, &field.name, &field.prefix);
    let tag = if prefix.is_empty() { name.clone() } else { format!("{prefix}:{name}") };
    match field.shape {
        Shape::Option => {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { writer.child(#tag, value); })
        }
        // What must be there is written, so that the text can be read again.
        Shape::Plain | Shape::Vec if field.required => quote!(writer.child(#tag, &self.#ident);),
        Shape::Plain | Shape::Vec => quote!(writer.child_unless_empty(#tag, &self.#ident);),
    }
}

fn write_attribute(field: &XmlField) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    match (field.shape, field.hex) {
        (Shape::Option, Some(digits)) => {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { writer.hex_attribute(#name, u64::from(*value), #digits); })
        }
        (Shape::Plain | Shape::Vec, Some(digits)) => {
            quote!(writer.hex_attribute(#name, u64::from(self.#ident), #digits);)
        }
        (Shape::Option, None) => {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { writer.attribute(#name, value); })
        }
        (Shape::Plain | Shape::Vec, None) => quote!(writer.attribute(#name, &self.#ident);),
    }
}

/// Puts a statement under the conditions of its field.
fn guard(field: &XmlField, statement: &TokenStream) -> TokenStream {
    let ident = &field.ident;
    if field.live {
        quote!(if writer.is_live() { #statement })
    } else if field.secret {
        quote!(if writer.shows_secrets() { #statement })
    } else if field.live_unless_user {
        quote!(if writer.is_live() || self.#ident.as_ref().is_some_and(|value| value.is_users()) { #statement })
    } else {
        statement.clone()
    }
}

fn visiting(fields: &[XmlField]) -> Vec<TokenStream> {
    let visit = |field: &XmlField| {
        let ident = &field.ident;
        match (field.role, field.shape) {
            (Role::Child, Shape::Plain) => {
                Some(quote!(::lodge_model::xml::Element::visit_foreign(&self.#ident, visit);))
            }
            (Role::Child, _) => Some(quote! {
                if let ::core::option::Option::Some(value) = &self.#ident {
                    ::lodge_model::xml::Element::visit_foreign(value, visit);
                }
            }),
            (Role::Children, _) => Some(
                quote!(for value in &self.#ident { ::lodge_model::xml::Element::visit_foreign(value, visit); }),
            ),
            (Role::Flatten, _) => Some(quote!(::lodge_model::xml::Part::visit_foreign(&self.#ident, visit);)),
            (Role::Kept, _) => Some(quote!(self.#ident.items().iter().for_each(&mut *visit);)),
            (Role::Foreign, _) if !field.known => {
                Some(quote!(self.#ident.items().iter().for_each(&mut *visit);))
            }
            (Role::Foreign | Role::Attr | Role::Text | Role::Leaf | Role::Leaves | Role::Flag, _) => None,
        }
    };
    let made: Vec<_> = fields.iter().filter_map(visit).collect();
    if made.is_empty() { vec![quote!(let _ = visit;)] } else { made }
}

/// The statements that forget what only a running guest has.
fn forgetting(fields: &[XmlField]) -> Vec<TokenStream> {
    let forget = |field: &XmlField| {
        let ident = &field.ident;
        match (field.role, field.shape) {
            _ if field.live => Some(quote!(self.#ident = ::core::default::Default::default();)),
            _ if field.live_unless_user => {
                Some(quote!(let _ = self.#ident.take_if(|value| !value.is_users());))
            }
            (Role::Child, Shape::Plain) => {
                Some(quote!(::lodge_model::xml::Element::forget_live(&mut self.#ident);))
            }
            (Role::Child, _) => Some(quote! {
                if let ::core::option::Option::Some(value) = &mut self.#ident {
                    ::lodge_model::xml::Element::forget_live(value);
                }
            }),
            (Role::Children, _) => {
                Some(quote!(self.#ident.iter_mut().for_each(::lodge_model::xml::Element::forget_live);))
            }
            (Role::Flatten, _) => Some(quote!(::lodge_model::xml::Part::forget_live(&mut self.#ident);)),
            (
                Role::Foreign | Role::Kept | Role::Attr | Role::Text | Role::Leaf | Role::Leaves | Role::Flag,
                _,
            ) => None,
        }
    };
    fields.iter().filter_map(forget).collect()
}

/// Takes what one of `arms` knows by its key.
fn taking(key: &TokenStream, arms: &[TokenStream]) -> TokenStream {
    if arms.is_empty() {
        return quote!(false);
    }
    quote! {
        match #key {
            #(#arms)*
            _ => return false,
        }
        true
    }
}

/// A struct whose fields belong to the element of another one. All its fields are `attr` or `child` with `Option`.
fn part(
    input: &DeriveInput,
    fields: &[XmlField],
    writing: &Writing,
    visiting: &[TokenStream],
    forgetting: &[TokenStream],
) -> TokenStream {
    let ident = &input.ident;
    let attributes = fields.iter().filter(|field| field.role == Role::Attr).map(|field| {
        let (ident, name) = (&field.ident, &field.name);
        quote!(#name => self.#ident = reader.attribute(node, attribute),)
    });
    let children = fields.iter().filter(|field| field.role == Role::Child).map(|field| {
        let (ident, name, prefix) = (&field.ident, &field.name, &field.prefix);
        quote! {
            (#prefix, #name) => if reader.first(child, self.#ident.is_none()) {
                self.#ident = ::lodge_model::xml::Element::read(child, "", reader);
            },
        }
    });
    let (write_attributes, write_content) = (&writing.attributes, &writing.content);
    let take_attribute =
        taking(&quote!(::lodge_model::xml::attribute_key(attribute)), &attributes.collect::<Vec<_>>());
    let take_child = taking(&quote!(::lodge_model::xml::element_key(child)), &children.collect::<Vec<_>>());
    quote! {
        impl ::lodge_model::xml::Part for #ident {
            fn take_attribute(
                &mut self,
                node: ::lodge_model::xml::Node<'_, '_>,
                attribute: &::lodge_model::xml::Attribute<'_, '_>,
                reader: &mut ::lodge_model::xml::Reader<'_>,
            ) -> bool {
                let _ = (node, &attribute, &reader);
                #take_attribute
            }

            fn take_child(
                &mut self,
                child: ::lodge_model::xml::Node<'_, '_>,
                reader: &mut ::lodge_model::xml::Reader<'_>,
            ) -> bool {
                let _ = (child, &reader);
                #take_child
            }

            fn write_attributes(&self, writer: &mut ::lodge_model::xml::Writer) {
                let _ = &writer;
                #(#write_attributes)*
            }

            fn write_content(&self, writer: &mut ::lodge_model::xml::Writer) {
                let _ = &writer;
                #(#write_content)*
            }

            fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ::lodge_model::xml::ForeignItem)) {
                #(#visiting)*
            }

            fn forget_live(&mut self) {
                #(#forgetting)*
            }
        }
    }
}
