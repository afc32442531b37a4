//! Recipes to begin with: ready ones by name, and one written from the columns of a file.

use crate::source::escape;
use nerve_data::features::{Proposal, propose, propose_output};
use nerve_data::{DataError, Table};
use nerve_formats::spec::Value;

/// A ready recipe to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its name: `tabular`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The ready recipes.
pub const TEMPLATES: [Template; 11] = [
    Template {
        name: "mnist-cnn",
        doc: "handwritten digits with a small convolutional network; runs as it is",
        text: include_str!("../../../recipes/mnist.toml"),
    },
    Template {
        name: "tabular",
        doc: "a table of numbers and names, one column of which is told from the others",
        text: include_str!("../templates/tabular.toml"),
    },
    Template {
        name: "text",
        doc: "texts and their classes",
        text: include_str!("../templates/text.toml"),
    },
    Template {
        name: "images",
        doc: "a folder of pictures for each class",
        text: include_str!("../templates/images.toml"),
    },
    Template {
        name: "audio",
        doc: "a folder of recordings for each class",
        text: include_str!("../templates/audio.toml"),
    },
    Template {
        name: "forecast",
        doc: "series, several in one table: the day ahead from the week before, with quantiles",
        text: include_str!("../templates/forecast.toml"),
    },
    Template {
        name: "segmentation",
        doc: "pictures and the class of each of their pixels",
        text: include_str!("../templates/segmentation.toml"),
    },
    Template {
        name: "autoencoder",
        doc: "pictures that are drawn again, to find those that are unlike the others",
        text: include_str!("../templates/autoencoder.toml"),
    },
    Template {
        name: "recommender",
        doc: "ratings of things by people",
        text: include_str!("../templates/recommender.toml"),
    },
    Template {
        name: "translation",
        doc: "texts that are written from other texts",
        text: include_str!("../templates/translation.toml"),
    },
    Template {
        name: "language-model",
        doc: "a text that goes on, letter by letter",
        text: include_str!("../templates/language-model.toml"),
    },
];

/// Writes a recipe for a table: the guessed type of each column with what speaks for it, and of `target` as the output.
/// `path` is what the recipe should name as the file, `command` stands in its first line.
///
/// # Errors
/// [`DataError::UnknownColumn`] for the target; [`DataError::Column`] when it cannot be learned, or nothing is left to
/// learn it from.
pub fn starter(
    table: &Table,
    path: &str,
    target: &str,
    command: &str,
) -> Result<String, DataError> {
    let output = propose_output(table.column(target)?);
    let refuse = |message: String| DataError::Column { column: target.into(), message };
    let Some(kind) = output.kind else {
        return Err(refuse(format!("it cannot be learned: {}", output.reason)));
    };
    let inputs: Vec<Proposal> =
        propose(table).into_iter().filter(|proposal| proposal.column != target).collect();
    let (used, left): (Vec<_>, Vec<_>) = inputs.iter().partition(|p| p.kind.is_some());
    if used.is_empty() {
        return Err(refuse("no other column says anything that it could be told from".into()));
    }
    let rows = table.rows();
    let split = match kind {
        "binary" | "category" => format!("{{ type = \"stratify\", column = {} }}", quoted(target)),
        _ => "\"random\"".into(),
    };
    let mut text = format!(
        "# Written by `{}` from {rows} rows.\n\
         # The types are guesses: look through them, then `nerve check` and `nerve train` this file.\n\
         schema = 1\n\
         seed = 42\n\n\
         [data]\n\
         path = {}\n\
         # 0.8 for training, 0.1 to watch it, 0.1 to judge it: `fractions` says otherwise.\n\
         split = {split}\n",
        comment(command),
        quoted(path),
    );
    if let Some(date) = used.iter().find(|proposal| proposal.kind == Some("date")) {
        text.push_str(&format!(
            "# If the future is to be told from the past: {{ type = \"time\", column = {} }}\n",
            quoted(&date.column)
        ));
    }
    used.iter().for_each(|proposal| column(&mut text, "input", proposal));
    if !left.is_empty() {
        text.push_str("\n# Left out:\n");
    }
    for proposal in left {
        text.push_str(&format!(
            "#   {}: {}\n",
            comment(&proposal.column),
            comment(&proposal.reason)
        ));
    }
    column(&mut text, "output", &output);
    let batch = if rows < 2_000 {
        32
    } else if rows < 50_000 {
        128
    } else {
        512
    };
    text.push_str(&format!(
        "\n# Each input has the usual encoder of its type; `combiner` is where they meet.\n\
         [model]\n\
         combiner = \"concat\"\n\n\
         [trainer]\n\
         epochs = 100\n\
         batch_size = {batch}\n\
         optimizer = {{ type = \"adamw\", lr = 1e-3 }}\n\
         early_stop = {{ patience = 10 }}\n"
    ));
    Ok(text)
}

fn column(text: &mut String, table: &str, proposal: &Proposal) {
    let name = quoted(&proposal.column);
    let kind = proposal.kind.unwrap_or_default();
    let reason = comment(&proposal.reason);
    text.push_str(&format!("\n[[{table}]]\nname = {name}\ntype = \"{kind}\"  # {reason}\n"));
    for (key, value) in &proposal.args {
        text.push_str(&format!("{key} = {value}\n"));
    }
}

fn quoted(text: &str) -> String {
    Value::Text(text.to_string().into()).to_string()
}

/// Text that stays on the line of its comment.
fn comment(text: &str) -> String {
    escape(text).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recipe, Source};
    use nerve_data::{Cells, Column, Origin};

    #[track_caller]
    fn load(name: &str, text: &str) -> Recipe {
        Recipe::load(Source::new(name, text), &[])
            .unwrap_or_else(|report| panic!("{name}: {}\n{text}", report.render(false)))
    }

    #[test]
    fn every_template_is_a_recipe() {
        for template in TEMPLATES {
            load(template.name, template.text);
            assert!(template.text.is_ascii() && template.text.ends_with('\n'), "{}", template.name);
        }
    }

    fn table() -> Table {
        let column = |name: &str, text: &dyn Fn(usize) -> String| {
            let texts: Vec<String> = (0..60).map(text).collect();
            let cells = Cells::Text(texts.iter().map(|text| Some(&text[..])).collect());
            Column { name: name.into(), cells }
        };
        let columns = vec![
            column("row", &|i| (i + 1).to_string()),
            column("age \"years\"\n", &|i| {
                if i % 9 == 0 { "".into() } else { (i * 7 % 50).to_string() }
            }),
            column("sex", &|i| ["male", "female"][i % 2].into()),
            column("unit", &|_| "a\nb".into()),
            column("when", &|i| format!("2024-02-{:02}", i % 28 + 1)),
            column("y", &|i| (i % 3 % 2).to_string()),
        ];
        Table::new(columns, Origin::default()).unwrap()
    }

    #[test]
    fn a_recipe_is_written_from_a_table() {
        let text = starter(&table(), "a \"file\".csv", "y", "nerve init x\n[data]").unwrap();
        let recipe = load("starter", &text);
        let inputs: Vec<(&str, &str)> =
            recipe.inputs.iter().map(|c| (&c.name[..], c.feature.name)).collect();
        let expected = [("age \"years\"\n", "number"), ("sex", "binary"), ("when", "date")];
        assert_eq!(inputs, expected, "{text}");
        assert_eq!(recipe.outputs[0].feature.name, "binary");
        assert!(text.contains("#   row: different in every row"), "{text}");
        assert!(text.contains("column = \"when\""), "{text}");
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let error = |target| starter(&table(), "x.csv", target, "").unwrap_err().to_string();
        assert!(error("z").contains("no column `z`"));
        assert!(error("unit").contains("cannot be learned"));
    }
}
