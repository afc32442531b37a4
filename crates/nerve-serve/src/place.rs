//! The places that a request can name.

use std::borrow::Cow;

/// What a path names.
#[derive(Debug, PartialEq)]
pub(crate) enum Place<'p> {
    Live,
    Ready,
    Server,
    Names,
    AllStatistics,
    Model(Named<'p>, What),
    Index,
    Control(&'p str, bool),
    Predict(Option<Named<'p>>),
    Metrics,
    Drift(Option<Named<'p>>),
    OpenApi,
    Form,
    Page(&'p str),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Named<'p> {
    pub model: &'p str,
    pub version: Option<&'p str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    About,
    Ready,
    Config,
    Statistics,
    Infer,
}

impl Place<'_> {
    pub fn of<'p>(steps: &[&'p str]) -> Option<Place<'p>> {
        let what = |word: &str| match word {
            "ready" => Some(What::Ready),
            "config" => Some(What::Config),
            "stats" => Some(What::Statistics),
            "infer" => Some(What::Infer),
            _ => None,
        };
        let named = |model, version| Named { model, version };
        Some(match *steps {
            ["v2"] | ["v2", ""] => Place::Server,
            ["v2", "health", "live"] => Place::Live,
            ["v2", "health", "ready"] => Place::Ready,
            ["v2", "models"] => Place::Names,
            ["v2", "models", "stats"] => Place::AllStatistics,
            ["v2", "models", model] if !model.is_empty() => {
                Place::Model(named(model, None), What::About)
            }
            ["v2", "models", model, "versions", version] => {
                Place::Model(named(model, Some(version)), What::About)
            }
            ["v2", "models", model, word] => Place::Model(named(model, None), what(word)?),
            ["v2", "models", model, "versions", version, word] => {
                Place::Model(named(model, Some(version)), what(word)?)
            }
            ["v2", "repository", "index"] => Place::Index,
            ["v2", "repository", "models", model, "load"] => Place::Control(model, true),
            ["v2", "repository", "models", model, "unload"] => Place::Control(model, false),
            ["predict"] => Place::Predict(None),
            ["predict", model] if !model.is_empty() => Place::Predict(Some(named(model, None))),
            ["predict", model, "versions", version] => {
                Place::Predict(Some(named(model, Some(version))))
            }
            ["metrics"] => Place::Metrics,
            ["drift"] => Place::Drift(None),
            ["drift", model] if !model.is_empty() => Place::Drift(Some(named(model, None))),
            ["drift", model, "versions", version] => {
                Place::Drift(Some(named(model, Some(version))))
            }
            ["openapi.json"] => Place::OpenApi,
            ["form"] => Place::Form,
            [file @ ("" | "page.css" | "page.js")] => Place::Page(file),
            _ => return None,
        })
    }

    pub fn posts(&self) -> bool {
        matches!(
            self,
            Place::Model(_, What::Infer) | Place::Index | Place::Control(..) | Place::Predict(_)
        )
    }
}

/// The steps of a path; `None` where one is no text.
pub(crate) fn steps(path: &str) -> Option<Vec<Cow<'_, str>>> {
    path.strip_prefix('/')?.split('/').map(decoded).collect()
}

fn decoded(step: &str) -> Option<Cow<'_, str>> {
    if !step.contains('%') {
        return Some(step.into());
    }
    let mut bytes = Vec::with_capacity(step.len());
    let mut rest = step.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, more) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = more;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h26_paths_are_compared_and_never_opened() {
        let place = |path: &str| {
            let steps = steps(path)?;
            let steps: Vec<&str> = steps.iter().map(|step| &**step).collect();
            Place::of(&steps).map(|place| format!("{place:?}"))
        };
        assert!(place("/v2/models/mnist/versions/1/infer").unwrap().contains("Infer"));
        assert_eq!(place("/v2/"), place("/v2"));
        // It is the name of a model like any other, and no model has it.
        assert!(place("/v2/models/..%2f..%2fetc%2fpasswd").unwrap().contains("../../etc/passwd"));
        for path in [
            "",
            "/v2//models",
            "/v2/models/",
            "/v2/models/x/%ff",
            "/v2/models/%zz",
            "/v2/models/%c0%ae",
            "/v3",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
