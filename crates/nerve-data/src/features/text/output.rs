//! A text that a network writes.

use std::sync::Arc;

use nerve_formats::Meaning;
use serde_json::Value as Json;

use super::Text;
use crate::features::{Answer, Feature, Head, Output, Refusal, Writing};
use crate::text::PADDING;
use crate::{Cells, Element, Slice, Values};

impl Text {
    /// The token that stands before the first and behind the last.
    pub(super) fn boundary(&self) -> i32 {
        self.tokenizer.vocabulary() as i32
    }
}

impl Output for Text {
    fn head(&self) -> Head {
        let Meaning::Tokens { vocabulary } = self.meaning() else { unreachable!("it is tokens") };
        Head {
            shape: vec![vocabulary, self.max_len],
            loss: "sequence_cross_entropy",
            metrics: &["token_accuracy", "token_perplexity"],
        }
    }

    /// The likeliest token at each place, given all that is true before it: no text that was written.
    fn answer(&self, values: &[f32]) -> Answer {
        let best = |place: usize| {
            let score = |token: usize| values[token * self.max_len + place];
            let better =
                |best: usize, token: usize| if score(token) > score(best) { token } else { best };
            (1..values.len() / self.max_len).fold(0, better) as i32
        };
        let tokens: Vec<i32> = (0..self.max_len).map(best).collect();
        Answer::Text(self.decode(&tokens))
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::I32(stored) = stored else { unreachable!("tokens are stored as i32") };
        Answer::Text(self.decode(&stored[row * self.max_len..][..self.max_len]))
    }

    fn writing(&self) -> Option<&dyn Writing> {
        Some(self)
    }
}

impl Writing for Text {
    fn boundary(&self) -> i32 {
        Text::boundary(self)
    }

    fn encode(&self, text: &str) -> Vec<i32> {
        let mut tokens = Vec::new();
        self.tokenizer.encode(text, &mut tokens);
        tokens
    }

    fn decode(&self, tokens: &[i32]) -> String {
        let end = tokens.iter().position(|&token| token == Text::boundary(self));
        self.tokenizer.decode(&tokens[..end.unwrap_or(tokens.len())])
    }

    fn past(&self) -> Arc<dyn Feature> {
        Arc::new(Past(self.clone()))
    }
}

/// What stands before each token of a text: the boundary, then the tokens, one place later than in the text itself.
#[derive(Clone, Debug)]
struct Past(Text);

impl Feature for Past {
    fn stored(&self) -> (Vec<usize>, Element) {
        self.0.stored()
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let mut tokens = Values::zeros(Element::I32, self.0.max_len);
        self.0.store(cells, row, tokens.slice(0, self.0.max_len))?;
        let Values::I32(tokens) = tokens else { unreachable!("tokens are stored as i32") };
        let out = out.i32();
        out[0] = self.0.boundary();
        out[1..].copy_from_slice(&tokens[..tokens.len() - 1]);
        debug_assert_eq!(PADDING, 0);
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        self.0.meaning()
    }

    fn state(&self) -> Json {
        self.0.state()
    }
}

#[cfg(test)]
mod tests {
    use crate::features::Role;
    use crate::features::testing::{fit, fit_error, stored, texts};
    use crate::features::{Answer, Output};
    use nerve_formats::Meaning;

    const WORDS: (&str, &str) = ("tokenizer", "{ type = words, min_count = 1 }");

    #[test]
    fn a_text_that_is_written_ends_with_a_token_and_begins_with_the_same() {
        let seen = texts(&["the cat sat", "the cat", "the dog sat down", ""]);
        let feature = fit("text", &[WORDS, ("max_len", "4")], Role::Output, &seen);
        // the 2, cat 3, sat 4, then dog and down by the order of the counts; 0 fills, 1 is unknown.
        let Meaning::Tokens { vocabulary } = feature.meaning() else { panic!("tokens") };
        assert_eq!(vocabulary, 8);
        assert_eq!(stored(&*feature, &seen, 0), Ok(vec![2, 3, 4, 7].into()));
        assert_eq!(stored(&*feature, &seen, 1), Ok(vec![2, 3, 7, 0].into()));
        // What is cut does not end.
        let Ok(crate::Values::I32(cut)) = stored(&*feature, &seen, 2) else { panic!("tokens") };
        assert!(!cut.contains(&7), "{cut:?}");
        assert_eq!(stored(&*feature, &seen, 3), Ok(vec![7, 0, 0, 0].into()));
        let writing = feature.output().and_then(Output::writing).unwrap();
        let past = writing.past();
        assert_eq!(stored(&*past, &seen, 0), Ok(vec![7, 2, 3, 4].into()));
        assert_eq!(stored(&*past, &seen, 3), Ok(vec![7, 7, 0, 0].into()));
        assert_eq!(writing.decode(&[2, 3, 7, 4, 4]), "the cat");
        assert_eq!(writing.encode("cat sat"), [3, 4]);
        let Ok(values) = stored(&*feature, &seen, 1) else { panic!("tokens") };
        assert_eq!(feature.output().unwrap().truth(&values, 0), Answer::Text("the cat".into()));
        assert_eq!(feature.output().unwrap().head().shape, [8, 4]);
    }

    #[test]
    fn pieces_of_a_long_text_end_anywhere() {
        let seen = texts(&["to be or", "not to be"]);
        let feature = fit("text", &[WORDS, ("end", "false")], Role::Output, &seen);
        assert_eq!(feature.stored().0, [3]);
        let Ok(crate::Values::I32(all)) = stored(&*feature, &seen, 0) else { panic!("tokens") };
        assert!(all.iter().all(|&token| token < 6), "{all:?}");
        let error = fit_error("text", &[("end", "false")], Role::Input, &seen);
        assert!(error.contains("`end` is for outputs"), "{error}");
    }
}
