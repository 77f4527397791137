//! The little that the server reads of a statement. It knows the forms that a client which ends sessions needs.

/// The statement without comments, backquotes, and a semicolon at its end.
pub(super) fn plain(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest: String = parts.filter_map(|part| part.split_once("*/")).map(|(_, after)| after).collect();
    (first + &rest).replace('`', "").trim().trim_end_matches(';').trim_end().to_owned()
}

/// The parts between commas that stand in no parentheses and in no quotes.
pub(super) fn by_commas(text: &str) -> Vec<&str> {
    let mut parts = vec![];
    let mut start = 0;
    for (index, letter) in outside(text) {
        if letter == ',' {
            parts.push(text[start..index].trim());
            start = index + 1;
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// What stands before and after the first ` FROM ` that stands in no parentheses.
pub(super) fn by_from(text: &str) -> Option<(&str, &str)> {
    const FROM: &str = " FROM ";
    let upper = text.to_ascii_uppercase();
    let (index, _) = outside(text).find(|(index, letter)| *letter == ' ' && upper[*index..].starts_with(FROM))?;
    Some((text[..index].trim(), text[index + FROM.len()..].trim()))
}

/// The letters that stand in no parentheses and in no quotes.
fn outside(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut depth, mut quoted) = (0_i32, false);
    text.char_indices().filter(move |(_, letter)| {
        quoted ^= *letter == '\'';
        match letter {
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0 && !quoted
    })
}

/// An expression and the name of its column, which is the expression itself without `AS`.
pub(super) fn named(part: &str) -> (&str, &str) {
    let split = part.to_ascii_uppercase().rfind(" AS ");
    split.map_or((part, part), |at| (part[..at].trim(), part[at + 4..].trim()))
}

/// The IDs in a condition `ID = 7` or `ID IN (7, 8)`. `None` without such a condition. The text is in upper case.
pub(super) fn ids(condition: &str) -> Option<Vec<u64>> {
    condition.match_indices("ID").find_map(|(index, _)| {
        let is_a_part = condition[..index].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let rest = condition[index + 2..].trim_start();
        let listed = rest.strip_prefix("IN").and_then(|rest| rest.trim_start().strip_prefix('('));
        let values = match (rest.strip_prefix('='), listed) {
            (Some(value), _) => vec![leading_number(value)?],
            (None, Some(list)) => list.split(')').next()?.split(',').filter_map(leading_number).collect(),
            (None, None) => return None,
        };
        (!is_a_part).then_some(values)
    })
}

/// Whether a session fits a condition of comparisons joined by `AND`. What is not understood counts as true. `value` tells a
/// column of the session. The text is in upper case, so that letters of other cases can only be given in hexadecimal.
pub(super) fn fits<'a>(condition: &str, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    let condition = condition.trim().strip_prefix("WHERE ").unwrap_or(condition);
    condition.split(" AND ").all(|term| holds(term.trim(), &value))
}

fn holds<'a>(term: &str, value: &impl Fn(&str) -> Option<&'a str>) -> bool {
    if let Some(column) = term.strip_prefix('(').and_then(|rest| rest.split_once(" = 0 OR ")) {
        return value(column.0).is_none_or(|value| value == "0");
    }
    if term == "1 = 0" {
        return false;
    }
    let operator =
        ["<=>", ">=", "<>", "="].into_iter().find_map(|operator| Some((operator, term.split_once(operator)?)));
    let Some((operator, (column, wanted))) = operator else { return true };
    let (column, wanted) = (column.trim(), wanted.trim());
    let has_case = wanted.starts_with("BINARY ");
    let Some(wanted) = hexadecimal(wanted).or_else(|| leading_number(wanted).map(|number| number.to_string())) else {
        return true;
    };
    let Some(found) = value(column) else { return false };
    let numbers = found.parse::<f64>().ok().zip(wanted.parse::<f64>().ok());
    match operator {
        ">=" => numbers.is_some_and(|(found, wanted)| found >= wanted),
        "<>" => found != wanted,
        _ if has_case => found == wanted,
        _ => found.eq_ignore_ascii_case(&wanted),
    }
}

/// The text in a literal such as `BINARY X'6170'`.
fn hexadecimal(literal: &str) -> Option<String> {
    let digits = literal.split_once("X'")?.1.split_once('\'')?.0;
    String::from_utf8(hex::decode(digits).ok()?).ok()
}

fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    text[..text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_and_quotes_are_not_in_the_way() {
        let text = plain("SELECT /*+ query_timeout(5) */ a, f(b, c) AS d, ', FROM ' FROM (SELECT 1 FROM x) ;");
        let (list, rest) = by_from(&text).unwrap();
        assert_eq!(by_commas(list["SELECT".len()..].trim()), ["a", "f(b, c) AS d", "', FROM '"]);
        assert_eq!(rest, "(SELECT 1 FROM x)");
        assert_eq!(named("f(b, c) AS d"), ("f(b, c)", "d"));
    }

    #[test]
    fn only_the_id_of_the_session_is_an_id() {
        assert_eq!(ids("TRANS_ID = 3 AND P.ID=4 AND SQL_ID = '5'"), Some(vec![4]));
        assert_eq!(ids("WHERE ID IN (1, 2)"), Some(vec![1, 2]));
        assert_eq!(ids("TRANS_ID = 3 AND ID = CONNECTION_ID()"), None);
    }

    #[test]
    fn a_session_must_fit_each_comparison() {
        let value = |column: &str| match column {
            "USER" => Some("app"),
            "TIME" => Some("12.5"),
            "TRANS_ID" => Some("0"),
            _ => None,
        };
        for (condition, expected) in [
            ("WHERE ID = CONNECTION_ID() AND USER <=> BINARY X'617070'", true),
            ("USER <=> BINARY X'415050'", false),
            ("USER = _UTF8MB4 X'415050' AND TIME >= 12", true),
            ("TIME >= 13", false),
            ("HOST <=> BINARY X'61'", false),
            ("(TRANS_ID = 0 OR TRANS_ID IS NULL)", true),
            ("TRANS_ID <> 0", false),
            ("1 = 0", false),
        ] {
            assert_eq!(fits(condition, value), expected, "{condition}");
        }
    }
}
