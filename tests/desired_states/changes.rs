//! The possible changes of an object, made from its schema: to valid values, to values at a bound, to values just over
//! it, and to values of another type.

use serde_json::{Map, Value, json};

/// A change of one field.
#[derive(Clone, Debug)]
pub struct Change {
    /// The names and list positions on the way to the field.
    pub path: Vec<String>,
    /// The new value. `None` removes the field.
    pub value: Option<Value>,
    /// Whether the schema itself forbids it, without a CEL rule.
    pub forbidden: bool,
}

/// A field that no schema has: an admission policy refuses it.
const UNKNOWN: &str = "unheardOf";

/// Texts that CEL rules may allow or refuse.
const TEXTS: [&str; 14] = [
    "a",
    "A-b_9",
    "7",
    "192.168.13.119",
    "FD00:0:0::1",
    "::1",
    "2026-10-05T09:30:00Z",
    "2999-12-31T23:59:59.999999999+14:00",
    "2026-02-30T00:00:00Z",
    "SELECT '数' \u{1b}[2J",
    "../../x",
    " ",
    "18446744073709551615",
    "cn-hangzhou",
];

impl Change {
    fn to(path: &[String], value: Value) -> Self {
        Self { path: path.to_vec(), value: Some(value), forbidden: false }
    }

    fn but_forbidden(self, forbidden: bool) -> Self {
        Self { forbidden, ..self }
    }

    /// The field as the API server writes it, such as `spec.sessions[0].serverIP`.
    pub fn field(&self) -> String {
        let step = |name: &String| match name.parse::<usize>() {
            Ok(position) => format!("[{position}]"),
            Err(_) => format!(".{name}"),
        };
        self.path.iter().map(step).collect::<String>().trim_start_matches('.').to_owned()
    }

    /// Whether only an admission policy refuses it. The API server does not ask one if a rule refuses the object.
    pub fn is_for_a_policy(&self) -> bool {
        self.value.as_ref().is_some_and(|value| value.get(UNKNOWN).is_some())
    }

    /// Whether `object` has the object that contains the field.
    pub fn is_within(&self, object: &Value) -> bool {
        let (_, parents) = self.path.split_last().unwrap();
        let parent = parents.iter().try_fold(object, |at, name| match name.parse::<usize>() {
            Ok(position) => at.get(position),
            Err(_) => at.get(name),
        });
        parent.is_some_and(Value::is_object)
    }

    /// Makes the change, if the object that contains the field exists.
    pub fn make(&self, object: &mut Value) {
        let (name, parents) = self.path.split_last().unwrap();
        let mut at = object;
        for parent in parents {
            let next = match at {
                Value::Array(items) => parent.parse::<usize>().ok().and_then(|position| items.get_mut(position)),
                Value::Object(fields) => Some(fields.entry(parent).or_insert_with(|| json!({}))),
                _ => None,
            };
            let Some(next) = next else { return };
            at = next;
        }
        match (at, &self.value) {
            (Value::Object(fields), Some(value)) => drop(fields.insert(name.clone(), value.clone())),
            (Value::Object(fields), None) => drop(fields.remove(name)),
            _ => {}
        }
    }
}

/// All changes of the fields in `schema`, which is the schema of the object at `path`. `valid` is a valid object.
pub fn changes(schema: &Value, valid: &Value, path: &[String]) -> Vec<Change> {
    let mut found = of_this(schema, valid, path);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let inner = [path, std::slice::from_ref(name)].concat();
        found.push(Change { path: inner.clone(), value: None, forbidden: required.contains(&name.as_str()) });
        found.extend(changes(property, &valid[name], &inner));
    }
    if let (Some(item), Some(first)) = (schema.get("items"), valid.get(0)) {
        let within = changes(item, first, &[path, &["0".to_owned()]].concat());
        // Leave out changes of the whole item, as its list has them.
        found.extend(within.into_iter().filter(|change| change.path.len() > path.len() + 1));
    }
    found
}

fn of_this(schema: &Value, valid: &Value, path: &[String]) -> Vec<Change> {
    let to = |value: Value| Change::to(path, value);
    let mut found = vec![to(Value::Null).but_forbidden(true)];
    let others = [json!(7), json!("text"), json!(true), json!(["x"]), json!({"x": 1}), json!(1.5)];
    let type_ = schema["type"].as_str().unwrap_or_default();
    found.extend(others.into_iter().filter(|other| !is_a(type_, other)).map(|other| to(other).but_forbidden(true)));
    match type_ {
        "string" => found.extend(strings(schema).into_iter().map(|(text, bad)| to(text.into()).but_forbidden(bad))),
        "integer" => found.extend(integers(schema).into_iter().map(|(number, bad)| to(number).but_forbidden(bad))),
        "boolean" => found.extend([to(json!(true)), to(json!(false))]),
        "array" => found.extend(lists(schema, valid).into_iter().map(|(list, bad)| to(list).but_forbidden(bad))),
        _ => {
            let mut more = valid.as_object().cloned().unwrap_or_default();
            more.insert(UNKNOWN.to_owned(), json!({"a": 1}));
            found.push(to(Value::Object(more)).but_forbidden(true));
            let lacks = schema["required"].as_array().is_some_and(|required| !required.is_empty());
            // Leave out the empty object if fields are required: the error would name a missing field, not the object.
            found.extend((!lacks).then(|| to(Value::Object(Map::new()))));
        }
    }
    found
}

fn is_a(type_: &str, value: &Value) -> bool {
    match type_ {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

fn length(schema: &Value, keyword: &str) -> Option<usize> {
    schema[keyword].as_u64().and_then(|length| usize::try_from(length).ok())
}

fn strings(schema: &Value) -> Vec<(String, bool)> {
    let allowed: Vec<&str> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !allowed.is_empty() {
        let mut texts: Vec<_> = allowed.iter().map(|text| ((*text).to_owned(), false)).collect();
        texts.extend(allowed.iter().map(|text| (text.to_uppercase() + "X", true)));
        return texts;
    }
    let (least, most) = (length(schema, "minLength"), length(schema, "maxLength"));
    let is_too = |text: &str| {
        let length = text.chars().count();
        least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most)
    };
    let mut texts: Vec<String> = TEXTS.map(str::to_owned).to_vec();
    for length in least.into_iter().flat_map(|least| [least, least.saturating_sub(1)]) {
        texts.extend(["a", "1", "数"].map(|letter| letter.repeat(length)));
    }
    for length in most.into_iter().flat_map(|most| [most, most + 1]) {
        texts.extend(["a", "1"].map(|letter| letter.repeat(length)));
    }
    texts.into_iter().map(|text| (text.clone(), is_too(&text))).collect()
}

fn integers(schema: &Value) -> Vec<(Value, bool)> {
    let bound = |keyword: &str| schema[keyword].as_f64().map(|bound| format!("{bound:.0}").parse::<i64>().unwrap());
    let (least, most) = (bound("minimum"), bound("maximum"));
    let mut numbers = vec![-1, 0, 1, i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::MAX, i64::MIN];
    numbers.extend(least.into_iter().flat_map(|least| [least, least - 1]));
    numbers.extend(most.into_iter().flat_map(|most| [most, most + 1]));
    let is_outside = |number: i64| {
        let fits = schema["format"] != "int32" || i32::try_from(number).is_ok();
        least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) || !fits
    };
    numbers.into_iter().map(|number| (number.into(), is_outside(number))).collect()
}

/// Lists of several sizes, among them the largest and one item more, and a list with the same item twice.
fn lists(schema: &Value, valid: &Value) -> Vec<(Value, bool)> {
    let (least, most) = (length(schema, "minItems"), length(schema, "maxItems"));
    let item = valid.get(0).cloned().unwrap_or_else(|| json!("item"));
    let of = |count: usize| (0..count).map(|number| different(&item, number)).collect::<Value>();
    let mut found = vec![(of(2), false), (json!([]), least.unwrap_or(0) > 0)];
    found.extend(most.into_iter().flat_map(|most| [(of(most), false), (of(most + 1), true)]));
    if ["set", "map"].iter().any(|kind| schema["x-kubernetes-list-type"] == *kind) {
        found.push((json!([item, item]), true));
    }
    found
}

/// The same item with another key.
fn different(item: &Value, number: usize) -> Value {
    let Some(fields) = item.as_object() else { return json!(format!("item-{number}")) };
    let mut fields = fields.clone();
    fields.insert("sessionID".to_owned(), json!(3_221_700_000_u64 + u64::try_from(number).unwrap()));
    Value::Object(fields)
}
