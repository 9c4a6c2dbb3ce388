//! XML documents, as a sequence of elements. Only what responses of object stores are made of is read: no document types and
//! no entities but the predefined ones.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use crate::error::Error;

/// How deeply elements may be nested.
const MAX_DEPTH: usize = 16;

/// What the reader has come to.
pub(crate) enum Node<'n> {
    /// An element that ends, with the text directly in it.
    End(&'n [&'n str], String),
    /// An element that begins.
    Start(&'n [&'n str]),
}

/// Reads a document, and passes each element to `visit` with its path: the names of the elements around it and its own, without
/// prefixes.
pub(crate) fn read(
    document: &[u8],
    mut visit: impl FnMut(Node<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let text = std::str::from_utf8(document).map_err(|_| invalid("the document is not UTF-8"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let mut names: Vec<String> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let mut seen = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|_| invalid("the XML is not well-formed"))?;
        match event {
            Event::Start(start) => {
                if names.len() == MAX_DEPTH {
                    return Err(invalid("the XML is nested too deeply"));
                }
                seen = true;
                names.push(start.local_name().into_inner().to_owned());
                texts.push(String::new());
                visit(Node::Start(&slices(&names)))?;
            }
            Event::Empty(start) => {
                seen = true;
                names.push(start.local_name().into_inner().to_owned());
                let path = slices(&names);
                visit(Node::Start(&path))?;
                visit(Node::End(&path, String::new()))?;
                names.pop();
            }
            Event::End(_) => {
                let text = texts.pop().unwrap_or_default();
                visit(Node::End(&slices(&names), text))?;
                names.pop();
            }
            Event::Text(text) => add(&mut texts, &text.xml10_content()),
            Event::CData(text) => add(&mut texts, &text.xml10_content()),
            Event::GeneralRef(entity) => {
                let char = entity
                    .resolve_char_ref()
                    .map_err(|_| invalid("the XML has a reference to no character"))?;
                match (char, resolve_predefined_entity(&entity)) {
                    (Some(char), _) => add(&mut texts, char.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => add(&mut texts, text),
                    (None, None) => return Err(invalid("the XML has an unknown entity")),
                }
            }
            Event::DocType(_) => return Err(invalid("the XML has a document type")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if names.is_empty() && seen => return Ok(()),
            Event::Eof => return Err(invalid("the XML ends early")),
        }
    }
}

/// Checks that a list begins with the element that it should: a page in which someone is to sign in would pass for an empty one.
pub(crate) fn expect(root: &str, wanted: &str) -> Result<(), Error> {
    if root == wanted {
        return Ok(());
    }
    Err(invalid("the document is not a list"))
}

fn slices(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Text outside of all elements is white space.
fn add(texts: &mut [String], text: &str) {
    if let Some(last) = texts.last_mut() {
        last.push_str(text);
    }
}

fn invalid(why: &str) -> Error {
    Error::Response(why.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn leaves(document: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let read = read(document, |node| {
            if let Node::End(path, text) = node {
                found.push(format!("{}={text}", path.join("/")));
            }
            Ok(())
        });
        read.map_err(|error| error.to_string()).map(|()| found)
    }

    #[test]
    fn text_is_read_with_its_references() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\n<a xmlns:n='x'><!-- c --><n:b>1 &lt;&#x41;&amp; <![CDATA[<&]]></n:b><c/></a>\n";
        let want = ["a/b=1 <A& <&", "a/c=", "a="];
        assert_eq!(leaves(document.as_bytes()).unwrap(), want);
    }

    #[rstest]
    #[case(b"", "the XML ends early")]
    #[case(b"text", "the XML ends early")]
    #[case(b"<a><b></a>", "the XML is not well-formed")]
    #[case(b"<a>", "the XML ends early")]
    #[case(b"<a>&other;</a>", "the XML has an unknown entity")]
    #[case(b"<a>&#x110000;</a>", "the XML has a reference to no character")]
    #[case(b"<a>&#0;</a>", "the XML has a reference to no character")]
    #[case(
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "the XML has a document type"
    )]
    #[case(b"<a>\xff</a>", "the document is not UTF-8")]
    fn documents_that_are_refused(#[case] document: &[u8], #[case] why: &str) {
        assert_eq!(
            leaves(document).unwrap_err(),
            format!("invalid response: {why}")
        );
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat();
        assert_eq!(leaves(nested(MAX_DEPTH).as_bytes()).unwrap().len(), 16);
        let refused = leaves(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(refused, "invalid response: the XML is nested too deeply");
    }
}
