//! Fills `{{name}}` in the files of `tests/interop/`.

use anyhow::{Result, bail};

/// Replaces every `{{name}}`; a name that is not given, and one that is given but not used, are errors.
pub fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        let mark = format!("{{{{{name}}}}}");
        if !text.contains(&mark) {
            bail!("the template has no {mark}");
        }
        text = text.replace(&mark, value);
    }
    match text.split_once("{{") {
        Some((_, rest)) => bail!("nothing given for {{{{{}", rest.lines().next().unwrap_or_default()),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn fills_every_place() {
        assert_eq!(fill("a {{x}} {{y}} {{x}}", &[("x", "1"), ("y", "2")]).unwrap(), "a 1 2 1");
    }

    #[test]
    fn refuses_missing_and_superfluous_names() {
        assert!(fill("{{x}}", &[]).is_err());
        assert!(fill("x", &[("x", "1")]).is_err());
    }
}
