//! Work orders: bytes to an order, or to everything that is wrong with it.

use super::promises::{refusal, told};
use super::{Watch, owned};
use jobyard::model::defect::INVALID_TICKET;
use jobyard::model::edit::arrange;
use jobyard::model::form::{Form, Key};
use jobyard::model::order::Order;
use jobyard::model::parse::{ORDER_BYTES_MAX, keys, parse_order};
use jobyard::model::strict::Tree;
use jobyard::model::strict::source::Source;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let stem = stem(input);
    let parsed = match watch.call("parse_order", || parse_order(input, &stem)) {
        Ok(parsed) => parsed,
        Err(defects) => return refusal(input, &defects),
    };
    told(input, &parsed.warnings);
    let order = parsed.order;
    assert_eq!(order.id.as_str(), stem);
    assert!(!order.title.trim().is_empty(), "an order without a title");
    let Ok(text) = std::str::from_utf8(input) else { panic!("an order that is no text") };
    values_stay_secret(text, &order, &parsed.warnings);
    let arranged = watch.call("arrange", || arrange(text));
    let Ok(arranged) = arranged else { panic!("an order that cannot be arranged: {arranged:?}") };
    assert_eq!(arrange(&arranged).as_deref(), Ok(arranged.as_str()), "arranged twice it differs");
    let again = parse_order(arranged.as_bytes(), &stem).map(|parsed| parsed.order);
    assert_eq!(again.as_ref(), Ok(&order), "arranged it says something else");
}

/// The name of the file: what the file says, where that can be told.
pub(super) fn stem(input: &[u8]) -> String {
    let source = Source::decode(input, ORDER_BYTES_MAX, INVALID_TICKET).ok();
    let tree = source.and_then(|source| Tree::read(source).ok());
    let id = tree.as_ref().and_then(|tree| tree.text(tree.get(tree.root(), "id")?));
    id.unwrap_or("WO-1").to_owned()
}

/// No value of a variable is told, unless it stands elsewhere in the file too.
fn values_stay_secret(text: &str, order: &Order, warnings: &[jobyard::model::defect::Defect]) {
    for value in order.env.values().filter(|v| v.len() > 7 && text.matches(v.as_str()).count() < 2)
    {
        let said = warnings.iter().any(|warning| warning.to_string().contains(value.as_str()));
        assert!(!said, "a warning tells the value of a variable");
    }
}

pub(super) fn words() -> Vec<String> {
    let mut words = owned(&[
        ": ",
        "\n",
        "- ",
        "|\n ",
        ">-\n  ",
        "|+\n",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "? ",
        "---\n",
        "...\n",
        "# ",
        "\r\n",
        "\u{feff}",
        "~",
        "null",
        "<<: *a\n",
        "inherit:",
        "WO-1",
        "id: WO-1\ntitle: T\n",
        "{{x}}",
        "1h30m",
        "2026-01-31",
        "é",
        "2026-01-31T18:00:00Z",
        "\u{2028}",
        "\u{85}",
        "\\u0000",
        "\\e",
        "x_",
    ]);
    of_keys(&keys::ORDER, &mut words);
    words
}

/// The names of a table, as keys, and the words of their values.
pub(super) fn of_keys(keys: &[Key], words: &mut Vec<String>) {
    for key in keys {
        words.push(format!("\n{}: ", key.name));
        words.push(format!("\n  {}: ", key.name));
        words.push(format!("{{{}: ", key.name));
        of_form(&key.form, words);
    }
}

fn of_form(form: &Form, words: &mut Vec<String>) {
    match form {
        Form::Words(known) | Form::AnyCase(known) | Form::Dashed(known) => {
            words.extend(known.iter().map(|word| format!("{word}\n")));
        }
        Form::Map(keys) => of_keys(keys, words),
        Form::List(form) => of_form(form, words),
        Form::Either(forms) => forms.iter().for_each(|form| of_form(form, words)),
        _ => {}
    }
}
