//! One field's annotation, read.

use syn::{Attribute, Field, GenericArgument, Ident, LitInt, LitStr, PathArguments, Result, Type};

/// What a field stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Attr,
    Text,
    Leaf,
    Leaves,
    Flag,
    Child,
    Children,
    Flatten,
    Foreign,
    /// An element that libvirt knows and Lodge does not yet: kept in its place.
    Kept,
}

/// How often a field's value may be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Option,
    Vec,
}

/// A field with its annotation.
pub struct XmlField {
    pub ident: Ident,
    pub role: Role,
    pub shape: Shape,
    /// The type inside `Option` or `Vec`.
    pub inner: Type,
    /// Name in the document, without prefix.
    pub name: String,
    /// Prefix in the document, mostly empty.
    pub prefix: String,
    pub hex: Option<usize>,
    pub required: bool,
    pub live: bool,
    pub live_unless_user: bool,
    pub secret: bool,
    pub known: bool,
    pub double_quotes: bool,
    /// Of a foreign field: elements (and `@attributes`) that libvirt knows, so they are no fault. Of a flag: `@attributes`.
    pub keeps: Vec<String>,
    /// Of a child: the field that it is written before, where this method of the struct says so.
    pub ahead: Option<(String, Ident)>,
}

impl XmlField {
    /// Reads the annotation of `field`.
    pub fn read(field: &Field) -> Result<Self> {
        let ident = field.ident.clone().ok_or_else(|| syn::Error::new_spanned(field, "fields need names"))?;
        let (shape, inner) = shape(&field.ty);
        let mut made = Self {
            name: ident.to_string(),
            prefix: String::new(),
            role: Role::Attr,
            shape,
            inner,
            ident,
            hex: None,
            required: false,
            live: false,
            live_unless_user: false,
            secret: false,
            known: false,
            double_quotes: false,
            keeps: Vec::new(),
            ahead: None,
        };
        let mut role = None;
        for attribute in annotations(&field.attrs) {
            attribute.parse_nested_meta(|meta| {
                let word = meta.path.require_ident()?.to_string();
                let named = |name: &mut String| -> Result<()> {
                    if meta.input.peek(syn::Token![=]) {
                        *name = meta.value()?.parse::<LitStr>()?.value();
                    }
                    Ok(())
                };
                let found = match word.as_str() {
                    "attr" => Role::Attr,
                    "text" => Role::Text,
                    "leaf" => Role::Leaf,
                    "leaves" => Role::Leaves,
                    "flag" => Role::Flag,
                    "child" => Role::Child,
                    "children" => Role::Children,
                    "flatten" => Role::Flatten,
                    "foreign" => Role::Foreign,
                    "kept" => Role::Kept,
                    "hex" => {
                        made.hex = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
                        return Ok(());
                    }
                    "keeps" => {
                        let words = meta.value()?.parse::<LitStr>()?.value();
                        made.keeps = words.split_whitespace().map(str::to_owned).collect();
                        return Ok(());
                    }
                    "ahead" => {
                        let words = meta.value()?.parse::<LitStr>()?;
                        let text = words.value();
                        let (field, method) = text
                            .split_once(" if ")
                            .ok_or_else(|| syn::Error::new(words.span(), "needs `FIELD if METHOD`"))?;
                        made.ahead = Some((field.to_owned(), Ident::new(method, words.span())));
                        return Ok(());
                    }
                    "required" => return set(&mut made.required),
                    "live" => return set(&mut made.live),
                    "live_unless_user" => return set(&mut made.live_unless_user),
                    "secret" => return set(&mut made.secret),
                    "known" => return set(&mut made.known),
                    "double_quotes" => return set(&mut made.double_quotes),
                    _ => return Err(meta.error("no word of this macro")),
                };
                role = Some(found);
                named(&mut made.name)
            })?;
        }
        made.role = role.ok_or_else(|| syn::Error::new_spanned(field, "needs #[xml(…)]"))?;
        if let Some((prefix, name)) = made.name.clone().split_once(':') {
            prefix.clone_into(&mut made.prefix);
            name.clone_into(&mut made.name);
        }
        Ok(made)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "stands at the end of a match arm")]
fn set(word: &mut bool) -> Result<()> {
    *word = true;
    Ok(())
}

/// The `#[xml(…)]` ones among `attributes`.
pub fn annotations(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("xml"))
}

/// The value of `#[xml(key = "value")]`, and whether `#[xml(key)]` is there at all.
pub fn container_word(attributes: &[Attribute], key: &str) -> Result<Option<String>> {
    let mut found = None;
    for attribute in annotations(attributes) {
        attribute.parse_nested_meta(|meta| {
            let value = if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<LitStr>()?.value()
            } else {
                String::new()
            };
            if meta.path.is_ident(key) {
                found = Some(value);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// `Option<T>` and `Vec<T>` are taken apart.
fn shape(ty: &Type) -> (Shape, Type) {
    if let Type::Path(path) = ty
        && let Some(last) = path.path.segments.last()
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(inner)) = arguments.args.first()
    {
        if last.ident == "Option" {
            return (Shape::Option, inner.clone());
        }
        if last.ident == "Vec" {
            return (Shape::Vec, inner.clone());
        }
    }
    (Shape::Plain, ty.clone())
}
