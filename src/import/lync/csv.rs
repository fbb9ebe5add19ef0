//! CSV, as `Export-Csv` writes it.

use super::value::{Object, Value};
use super::{MAX_OBJECTS, ReadError};

/// The objects of a file, one in each line below the names.
pub(super) fn read(text: &str) -> Result<Vec<Object>, ReadError> {
    let text = without_type(text);
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter(text)).from_reader(text.as_bytes());
    let names = reader.headers()?.clone();
    let mut objects = Vec::new();
    for record in reader.records() {
        if objects.len() >= MAX_OBJECTS {
            return Err(ReadError::TooMany);
        }
        let record = record?;
        let value = |cell: &str| match cell {
            "" => Value::Nothing,
            cell => Value::Text(cell.to_owned()),
        };
        let cells = names.iter().zip(&record);
        objects
            .push(Object { properties: cells.map(|(name, cell)| (name.to_owned(), value(cell))).collect() });
    }
    Ok(objects)
}

/// Windows PowerShell begins with the type, `#TYPE …`.
fn without_type(text: &str) -> &str {
    let text = text.trim_start();
    match text.strip_prefix("#TYPE") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, rest)| rest),
        None => text,
    }
}

/// With -UseCulture it is what the country writes in lists.
fn delimiter(text: &str) -> u8 {
    let names = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| names.bytes().filter(|byte| *byte == delimiter).count();
    [b';', b'\t'].into_iter().find(|other| count(*other) > count(b',')).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_of_export_csv_is_the_same_table() {
        let expected =
            [("Identity", Value::Text("fabrikam.com".to_owned())), ("Description", Value::Nothing)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        for text in [
            "#TYPE Some.Type\r\n\"Identity\",\"Description\"\r\n\"fabrikam.com\",\r\n",
            "\"Identity\",\"Description\"\n\"fabrikam.com\",\"\"\n",
            "Identity;Description\nfabrikam.com;\n",
            "Identity\tDescription\nfabrikam.com\t\n",
        ] {
            let objects = read(text).unwrap();
            assert_eq!(objects.len(), 1, "{text}");
            assert_eq!(objects[0].properties, expected, "{text}");
        }
    }

    #[test]
    fn a_cell_keeps_quotes_delimiters_and_lines() {
        let objects = read("A,B\n\"one \"\"two\"\", three\n four\",b\n").unwrap();
        assert_eq!(objects[0].get("A"), Some(&Value::Text("one \"two\", three\n four".to_owned())));
    }

    #[test]
    fn a_line_with_a_cell_too_many_or_too_few_is_refused() {
        for text in ["A,B\n1\n", "A,B\n1,2,3\n"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("line: 2"), "{error}");
        }
    }
}
