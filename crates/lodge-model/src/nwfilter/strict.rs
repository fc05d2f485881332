//! `--validate`: what nobody knows is a fault, with its place.

use roxmltree::Node;

use super::protocol::Protocol;
use crate::xml::bounds;
use crate::{Fault, Faults};

/// Looks for what would be dropped.
pub(super) fn check(text: &str) -> Result<(), Faults> {
    let document = bounds::document(text)?;
    let mut found = Vec::new();
    let root = document.root_element();
    attributes(root, "/filter", &["name", "chain", "priority"], &mut found);
    for node in root.children().filter(Node::is_element) {
        let name = node.tag_name().name();
        let path = format!("/filter/{name}");
        match name {
            "uuid" => attributes(node, &path, &[], &mut found),
            "rule" => rule(node, &path, &mut found),
            "filterref" => filterref(node, &path, &mut found),
            _ => unknown(node, &path, &mut found),
        }
    }
    Faults(found).into_result()
}

/// The same of a binding.
pub(super) fn check_binding(text: &str) -> Result<(), Faults> {
    let document = bounds::document(text)?;
    let mut found = Vec::new();
    let root = document.root_element();
    attributes(root, "/filterbinding", &[], &mut found);
    for node in root.children().filter(Node::is_element) {
        let name = node.tag_name().name();
        let path = format!("/filterbinding/{name}");
        match name {
            "portdev" | "linkdev" => attributes(node, &path, &["name"], &mut found),
            "mac" => attributes(node, &path, &["address"], &mut found),
            "filterref" => filterref(node, &path, &mut found),
            "owner" => {
                for part in node.children().filter(Node::is_element) {
                    let name = part.tag_name().name();
                    if !["name", "uuid"].contains(&name) {
                        unknown(part, &format!("{path}/{name}"), &mut found);
                    }
                }
            }
            _ => unknown(node, &path, &mut found),
        }
    }
    Faults(found).into_result()
}

fn filterref(node: Node<'_, '_>, path: &str, found: &mut Vec<Fault>) {
    attributes(node, path, &["filter"], found);
    for parameter in node.children().filter(Node::is_element) {
        let name = parameter.tag_name().name();
        let path = format!("{path}/{name}");
        if name == "parameter" {
            attributes(parameter, &path, &["name", "value"], found);
        } else {
            unknown(parameter, &path, found);
        }
    }
}

fn rule(node: Node<'_, '_>, path: &str, found: &mut Vec<Fault>) {
    attributes(node, path, &["action", "direction", "priority", "statematch"], found);
    let mut is_first = true;
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let path = format!("{path}/{name}");
        match name.parse::<Protocol>() {
            Ok(protocol) if std::mem::take(&mut is_first) => {
                let mut known: Vec<&str> = protocol.fields().map(|field| field.name).collect();
                known.push("match");
                attributes(child, &path, &known, found);
            }
            Ok(_) => found.push(at(child, &path, "a rule has one such element")),
            Err(_) => unknown(child, &path, found),
        }
    }
}

fn attributes(node: Node<'_, '_>, path: &str, known: &[&str], found: &mut Vec<Fault>) {
    for attribute in node.attributes().filter(|attribute| !known.contains(&attribute.name())) {
        let path = format!("{path}/@{}", attribute.name());
        found.push(at(node, &path, "this attribute is not known here"));
    }
}

fn unknown(node: Node<'_, '_>, path: &str, found: &mut Vec<Fault>) {
    found.push(at(node, path, "this element is not known here"));
}

fn at(node: Node<'_, '_>, path: &str, message: &str) -> Fault {
    let place = node.document().text_pos_at(node.range().start);
    Fault { line: place.row, column: place.col, path: path.to_owned(), message: message.to_owned() }
}
