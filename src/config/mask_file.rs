//! A file of `[[mask]]` tables alone, for `ringward mask`. A whole configuration does as well; of that only
//! its masks are used.

use super::compile::mask_rule;
use super::{Diagnostic, Mask, Severity, Text, Tree, diagnostic, structure};
use crate::inspect::{MaskSet, Rule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Masks {
    #[serde(default)]
    mask: Vec<Mask>,
}

/// The masks of a file, in their order.
///
/// # Errors
/// What is wrong with it, with its places: the operator's fault.
pub fn load_masks(text: &Text) -> Result<MaskSet, Vec<Diagnostic>> {
    let (tree, mut found) = Tree::parse(text);
    if found.is_empty() {
        found = structure::check(&tree);
        // What makes a file a whole configuration.
        found.retain(|one| tree.has(&["version".into()]) || !one.message.contains("`version` at the top"));
    }
    diagnostic::sort(&mut found);
    if !found.is_empty() {
        return Err(found);
    }
    let masks = toml::from_str::<Masks>(&text.source).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![tree.diagnostic_at(span, Severity::Error, "config-type", error.message())]
    })?;
    let refused =
        |path: &[super::Step], message: String| vec![tree.value(path, Severity::Error, "mask", message)];
    if masks.mask.is_empty() {
        let found = tree.diagnostic_at(0..0, Severity::Error, "mask", "the file has no [[mask]]");
        return Err(vec![found.help("add one: `name`, `kind`, and `replace`")]);
    }
    let rules = masks.mask.iter().enumerate().map(|(index, mask)| {
        let place: [super::Step; 3] = ["mask".into(), index.into(), "replace".into()];
        mask_rule(mask).map_err(|error| refused(&place, error.to_string()))
    });
    let rules = rules.collect::<Result<Vec<Rule>, _>>()?;
    MaskSet::compile(rules).map_err(|error| refused(&["mask".into()], error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: Result<&[&str], &str>) {
        let text = Text::new("rules.toml", ".", source);
        match (load_masks(&text), expected) {
            (Ok(set), Ok(names)) => {
                assert_eq!(set.rule_names().map(|name| &**name).collect::<Vec<_>>(), names);
            }
            (Err(found), Err(part)) => {
                let shown = diagnostic::render_all(&found, crate::config::Format::Text, false);
                assert!(shown.contains(part), "{shown}");
            }
            (result, _) => panic!("{source}: {result:?}"),
        }
    }

    #[test]
    fn masks_stand_alone_or_in_a_whole_configuration() {
        let mask = "[[mask]]\nname = \"cards\"\nkind = \"credit_card\"\n";
        check(mask, Ok(&["cards"]));
        check(&format!("version = 1\n{mask}"), Ok(&["cards"]));
        let text = |source: &str| Text::new("a", ".", source);
        let example = include_str!("../../ringward.example.toml");
        let set = load_masks(&text(example)).expect("the example has good masks");
        assert_eq!(set.rules().len(), example.lines().filter(|line| *line == "[[mask]]").count());
    }

    #[test]
    fn what_is_wrong_is_placed() {
        check("", Err("the file has no [[mask]]"));
        check("[[mask]]\nname = \"a\"\nkind = \"cards\"", Err("rules.toml:3"));
        check("[[mask]]\nname = \"a\"\nkind = \"email\"\nreplace = \"{x}\"", Err("rules.toml:4"));
        check("[[mask]]\nname = \"a\"", Err("missing key `kind`"));
        check("[[mask]", Err("rules.toml:1"));
        check("version = 2\n[[mask]]\nname = \"a\"\nkind = \"email\"", Err("rules.toml:1"));
    }
}
