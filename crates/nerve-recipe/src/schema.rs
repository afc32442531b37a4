//! The grammar of recipes as a JSON Schema, for editors that complete and check while one types.
//!
//! It is made of the same descriptions that check a recipe, so it knows every word and every range. What it cannot say are
//! the rules between keys and those of shapes: `nerve check` does.

use crate::vocabulary::{COLUMNS, FEATURE, MODEL, NETWORK, RANGE, ROOT, SECTIONS, START, TUNE};
use nerve_formats::spec::{Item, Kind, Param, Presence, Spec, Value};
use serde_json::{Map, Value as Json, json};

/// The JSON Schema (draft 2020-12) of a recipe.
///
/// ```
/// let schema = nerve_recipe::schema::schema();
/// assert_eq!(schema["properties"]["trainer"]["properties"]["epochs"]["type"], "integer");
/// ```
pub fn schema() -> Json {
    let mut defs = Defs::default();
    let mut properties = defs.params(ROOT.params);
    for section in SECTIONS.iter() {
        properties.insert(section.name.into(), defs.object(section, section.params, None));
    }
    // Beside a list of layers a model may be a network of the zoo.
    let network = defs.with_type(&NETWORK, START.params);
    let layers = defs.object(&MODEL, MODEL.params, None);
    properties.insert(MODEL.name.into(), json!({ "anyOf": [layers, network] }));
    for columns in COLUMNS {
        let items = defs.with_type(&FEATURE, columns.params);
        let list = json!({ "type": "array", "items": items, "description": columns.doc });
        properties.insert(columns.name.into(), list);
    }
    properties[TUNE.name]["properties"]["space"] = space(&mut defs);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of nerve",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": ["data"],
        "$defs": defs.made,
    })
}

/// The search space: a range or a list for each path; paths may be tables in tables.
fn space(defs: &mut Defs) -> Json {
    let range = defs.object(&RANGE, RANGE.params, None);
    let list = json!({ "type": "array", "minItems": 1 });
    defs.made.insert(
        "search space".into(),
        json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [range, list, { "$ref": "#/$defs/search%20space" }],
            },
        }),
    );
    json!({ "$ref": "#/$defs/search%20space" })
}

/// What is referred to by name: a layer may hold layers.
#[derive(Default)]
struct Defs {
    made: Map<String, Json>,
}

impl Defs {
    fn params(&mut self, params: &[Param]) -> Map<String, Json> {
        let mut properties = Map::new();
        for param in params {
            let mut schema = self.kind(&param.kind);
            schema["description"] = json!(param.doc);
            if let Presence::Default(value) = &param.presence {
                schema["default"] = plain(value);
            }
            for name in std::iter::once(&param.name).chain(param.aliases) {
                properties.insert(name.to_string(), schema.clone());
            }
        }
        properties
    }

    fn object(&mut self, spec: &Spec, params: &[Param], kind: Option<&'static Spec>) -> Json {
        let mut properties = self.params(params);
        let mut required: Vec<&str> = params
            .iter()
            // One of several names suffices; that cannot be said in a word.
            .filter(|param| param.presence == Presence::Required && param.aliases.is_empty())
            .map(|param| param.name)
            .collect();
        if let Some(kind) = kind {
            let names: Vec<&str> = names(kind).collect();
            properties.insert("type".into(), json!({ "enum": names, "description": kind.doc }));
            required.push("type");
        }
        json!({
            "type": "object",
            "description": spec.doc,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// A table with the type of a thing, what that takes, and these keys beside it.
    fn with_type(&mut self, kind: &Kind, beside: &[Param]) -> Json {
        let Kind::Item { specs, .. } = kind else { return json!({}) };
        let one = |spec: &&'static Spec| {
            let params: Vec<Param> = beside.iter().chain(spec.params).cloned().collect();
            self.object(spec, &params, Some(spec))
        };
        json!({ "anyOf": specs().iter().map(one).collect::<Vec<Json>>() })
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match *kind {
            Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Kind::Float { min, max, open_min, open_max } => {
                let mut schema = json!({ "type": "number" });
                if min > f64::MIN {
                    schema[if open_min { "exclusiveMinimum" } else { "minimum" }] = json!(min);
                }
                if max < f64::MAX {
                    schema[if open_max { "exclusiveMaximum" } else { "maximum" }] = json!(max);
                }
                schema
            }
            Kind::Any(_) => json!({}),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Text => json!({ "type": "string" }),
            Kind::Choice(words) => json!({ "enum": words }),
            Kind::List { of, min_len, max_len } => {
                let items = self.kind(of);
                json!({ "type": "array", "items": items, "minItems": min_len, "maxItems": max_len })
            }
            Kind::OneOf(kinds) => {
                let any: Vec<Json> = kinds.iter().map(|kind| self.kind(kind)).collect();
                json!({ "anyOf": any })
            }
            Kind::Table(spec) => self.object(spec, spec.params, None),
            Kind::Item { what, specs } => self.item(what, specs),
        }
    }

    fn item(&mut self, what: &str, specs: fn() -> Vec<&'static Spec>) -> Json {
        if !self.made.contains_key(what) {
            // Its name stands there before what it holds is made, which may refer to it.
            self.made.insert(what.into(), Json::Null);
            let specs = specs();
            let all: Vec<&str> = specs.iter().copied().flat_map(names).collect();
            let mut any = vec![
                json!({ "enum": all }),
                json!({ "type": "string", "pattern": "^\\w+\\(", "description": "Name(value, key = value)" }),
            ];
            any.extend(specs.iter().map(|spec| self.object(spec, spec.params, Some(spec))));
            self.made.insert(what.into(), json!({ "anyOf": any }));
        }
        json!({ "$ref": format!("#/$defs/{}", what.replace(' ', "%20")) })
    }
}

fn names(spec: &'static Spec) -> impl Iterator<Item = &'static str> {
    std::iter::once(spec.name).chain(spec.aliases.iter().copied())
}

/// A value as it stands in JSON.
fn plain(value: &Value) -> Json {
    let table = |values: &mut dyn Iterator<Item = (String, &Value)>| {
        Json::Object(values.map(|(key, value)| (key, plain(value))).collect())
    };
    match value {
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Bool(truth) => json!(truth),
        Value::Text(text) => json!(text),
        Value::List(values) => values.iter().map(plain).collect(),
        Value::Table(entries) => table(&mut entries.iter().map(|(key, v)| (key.clone(), v))),
        Value::Item(item) => {
            let Item { name, args } = &**item;
            let mut object = table(&mut args.iter().map(|(key, v)| (key.to_string(), v)));
            object["type"] = json!(name);
            object
        }
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All references of a schema.
    fn references(schema: &Json, found: &mut Vec<String>) {
        match schema {
            Json::Object(map) => map.iter().for_each(|(key, value)| match (key.as_str(), value) {
                ("$ref", Json::String(to)) => found.push(to.clone()),
                _ => references(value, found),
            }),
            Json::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_schema_is_whole() {
        let schema = schema();
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(found.len() > 20, "{}", found.len());
        for to in found {
            let name = to.strip_prefix("#/$defs/").unwrap().replace("%20", " ");
            assert!(schema["$defs"][&name].is_object(), "{to}");
        }
        let trainer = &schema["properties"]["trainer"]["properties"];
        assert_eq!(trainer["batch_size"]["minimum"], 1);
        assert_eq!(trainer["batch"], trainer["batch_size"], "an alias");
        let early = &trainer["early_stop"]["properties"]["patience"];
        assert_eq!((&early["default"], &early["type"]), (&json!(5), &json!("integer")));
        let columns = &schema["properties"]["input"]["items"]["anyOf"];
        assert!(columns.as_array().unwrap().iter().any(|one| {
            one["properties"]["type"]["enum"][0] == "number"
                && one["properties"]["encoder"].is_object()
        }));
    }
}
