//! CLIXML, as `Export-Clixml` writes it ([MS-PSRP] 2.2.5).

use std::borrow::Cow;
use std::collections::HashMap;

use nuncio_xmpp::{Document, ElementRef, ReadLimits};

use super::value::{Object, Value};
use super::{MAX_FILE, MAX_OBJECTS, ReadError};

const NS: &str = "http://schemas.microsoft.com/powershell/2004/04";

/// The most verbose objects have some sixty elements each.
const LIMITS: ReadLimits = ReadLimits {
    stanza: MAX_FILE,
    tag: 64 * 1024,
    depth: 32,
    elements: MAX_OBJECTS * 100,
    ..ReadLimits::AUTHENTICATED
};

/// The objects of a file.
pub(super) fn read(text: &str) -> Result<Vec<Object>, ReadError> {
    // What the declaration says of the encoding was true of the bytes, and this is text.
    let document = Document::parse_utf8(text.trim_start().as_bytes(), &LIMITS)?;
    let root = document.root();
    if !root.is("Objs", NS) {
        return Err(ReadError::NoClixml);
    }
    let mut reader = Reader { seen: HashMap::new(), objects: Vec::new() };
    for element in root.elements() {
        reader.outermost(element)?;
    }
    Ok(reader.objects)
}

struct Reader<'d> {
    /// What was written once and is referred to later.
    seen: HashMap<&'d str, Value>,
    objects: Vec<Object>,
}

impl<'d> Reader<'d> {
    /// An object, or a list of them.
    fn outermost(&mut self, element: ElementRef<'d>) -> Result<(), ReadError> {
        if let Some(list) = list(element) {
            for inside in list.elements() {
                self.outermost(inside)?;
            }
            return Ok(());
        }
        if element.name() != "Obj" {
            // Plain text between objects is a message of some script.
            return Ok(());
        }
        if self.objects.len() >= MAX_OBJECTS {
            return Err(ReadError::TooMany);
        }
        let mut object = Object::default();
        // Added properties hide those of the type.
        for set in ["MS", "Props"] {
            let before = object.properties.len();
            for property in element.child(set, NS).into_iter().flat_map(ElementRef::elements) {
                let Some(name) = property.attr("N") else { continue };
                let name = unescaped(name).into_owned();
                let value = self.value(property);
                let hidden = object.properties.iter().take(before);
                if !hidden.into_iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                    object.properties.push((name, value));
                }
            }
        }
        self.objects.push(object);
        Ok(())
    }

    fn value(&mut self, element: ElementRef<'d>) -> Value {
        let text = element.text();
        let value = match element.name() {
            "Nil" => Value::Nothing,
            "S" if text.is_empty() => Value::Nothing,
            "B" if text == "true" => Value::Bool(true),
            "B" if text == "false" => Value::Bool(false),
            "By" | "SB" | "U16" | "I16" | "U32" | "I32" | "U64" | "I64" => match text.parse() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::Opaque(text.into_owned()),
            },
            "S" | "TS" | "URI" | "G" | "Version" => Value::Text(unescaped(&text).into_owned()),
            "Ref" => {
                let seen = element.attr("RefId").and_then(|id| self.seen.get(id));
                return seen.cloned().unwrap_or_else(|| Value::Opaque("a reference to nothing".to_owned()));
            }
            "Obj" => object(element),
            other => Value::Opaque(other.to_owned()),
        };
        if let Some(id) = element.attr("RefId") {
            self.seen.insert(id, value.clone());
        }
        value
    }
}

/// A list of names, or what an enumeration or a type of its own is called.
fn object(element: ElementRef<'_>) -> Value {
    if let Some(list) = list(element) {
        let name = |inside: ElementRef<'_>| match inside.name() {
            "S" => Some(unescaped(&inside.text()).into_owned()),
            "Obj" => called(inside),
            _ => None,
        };
        let names: Option<Vec<String>> = list.elements().map(name).collect();
        return names.map_or_else(|| Value::Opaque("a list".to_owned()), Value::List);
    }
    match called(element) {
        Some(name) => Value::Text(name),
        None => Value::Opaque("an object".to_owned()),
    }
}

fn called(element: ElementRef<'_>) -> Option<String> {
    element.child("ToString", NS).map(|name| unescaped(&name.text()).into_owned())
}

/// What an object contains that is a list, array, stack or queue.
fn list(element: ElementRef<'_>) -> Option<ElementRef<'_>> {
    element.elements().find(|inside| matches!(inside.name(), "LST" | "IE" | "STK" | "QUE"))
}

/// Text with the escapes `_xHHHH_` resolved, each of which is a unit of UTF-16 (2.2.5.3.2).
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("_x") {
        return Cow::Borrowed(text);
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, from) = rest.split_at(at);
        units.extend(before.encode_utf16());
        let digits = from.get(2..6).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.filter(|_| from.get(6..7) == Some("_"));
        match unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                units.push(unit);
                rest = from.get(7..).unwrap_or_default();
            }
            None => {
                let (taken, behind) = from.split_at(2);
                units.extend(taken.encode_utf16());
                rest = behind;
            }
        }
    }
    units.extend(rest.encode_utf16());
    Cow::Owned(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objs(inside: &str) -> String {
        format!("<Objs Version=\"1.1.0.1\" xmlns=\"{NS}\">{inside}</Objs>")
    }

    fn one(properties: &str) -> Object {
        let text = objs(&format!("<Obj RefId=\"0\"><TN RefId=\"0\"><T>X</T></TN>{properties}</Obj>"));
        read(&text).unwrap().remove(0)
    }

    #[test]
    fn properties_have_the_types_of_powershell() {
        let object = one(
            "<Props><S N=\"S\">a_x000A_b</S><S N=\"E\"></S><B N=\"B\">true</B><U32 N=\"U\">20</U32><Nil N=\"N\"/>\
             <TS N=\"T\">PT5M</TS><Obj N=\"P\" RefId=\"1\"><TNRef RefId=\"0\"/><ToString>Federated</ToString><I32>0</I32></Obj>\
             <Obj N=\"L\" RefId=\"2\"><TN RefId=\"2\"><T>List</T></TN><LST><S>a.example</S><S>b.example</S></LST></Obj>\
             <Ref N=\"R\" RefId=\"1\"/></Props>",
        );
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [
            ("S", text("a\nb")),
            ("E", Value::Nothing),
            ("B", Value::Bool(true)),
            ("U", Value::Number(20)),
            ("N", Value::Nothing),
            ("T", text("PT5M")),
            ("P", text("Federated")),
            ("L", Value::List(vec!["a.example".to_owned(), "b.example".to_owned()])),
            ("R", text("Federated")),
        ];
        assert_eq!(object.properties, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn added_properties_hide_those_of_the_type() {
        let object = one("<Props><S N=\"A\">type</S><S N=\"B\">b</S></Props><MS><S N=\"a\">added</S></MS>");
        assert_eq!(object.get("A"), Some(&Value::Text("added".to_owned())));
        assert_eq!(object.properties.len(), 2);
    }

    #[test]
    fn objects_in_a_list_are_found() {
        let each = "<Obj RefId=\"7\"><MS><S N=\"A\">1</S></MS></Obj>";
        let text =
            objs(&format!("<Obj RefId=\"0\"><TN RefId=\"0\"><T>A</T></TN><LST>{each}{each}</LST></Obj>"));
        assert_eq!(read(&text).unwrap().len(), 2);
    }

    #[test]
    fn sec_01_hostile_documents_are_refused_by_the_strict_reader() {
        let deep = objs(&format!("{}{}", "<Obj>".repeat(40), "</Obj>".repeat(40)));
        for text in
            ["<!DOCTYPE Objs [<!ENTITY a \"b\">]><Objs/>", "<Objs><!-- note --></Objs>", "<Objs", &deep]
        {
            assert!(matches!(read(text), Err(ReadError::Xml(_))), "{text}");
        }
        assert!(matches!(read("<Configuration/>"), Err(ReadError::NoClixml)));
    }

    #[test]
    fn only_what_is_an_escape_is_resolved() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a_x000D__x000A_b", "a\r\nb"),
            ("_xD834__xDD1E_", "𝄞"),
            ("_x00_ _xZZZZ_ _x0041", "_x00_ _xZZZZ_ _x0041"),
            ("_x005F_x0041_", "_x0041_"),
            ("_xü000_", "_xü000_"),
        ] {
            assert_eq!(unescaped(text), expected, "{text}");
        }
    }
}
