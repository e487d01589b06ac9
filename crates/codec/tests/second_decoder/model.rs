//! A language model for the second decoder: the program's own inference, one context at a time.

use std::cell::RefCell;

use lmgc_codec::lm::LanguageModel;
use lmgc_model::{Engine, Kernels, OutputLayer, Segment};
use lmgc_testkit::second_decoder;

/// Contexts that are kept: codec ensemble goes back and forth between 16.
const N_CONTEXTS: usize = 20;

/// What a [`Prior`] borrows.
pub(crate) struct Parts<'m> {
    language: &'m LanguageModel,
    output: OutputLayer,
    token_bytes: Vec<Vec<u8>>,
}

impl<'m> Parts<'m> {
    pub(crate) fn new(language: &'m LanguageModel) -> Self {
        let n_tokens = language.model().config().vocab_size as u32;
        Self {
            language,
            output: OutputLayer::full(language.model()),
            token_bytes: (0..n_tokens).map(|id| language.tokenizer().id_bytes(id).to_vec()).collect(),
        }
    }

    /// The model for contexts of up to `window_tokens` tokens.
    pub(crate) fn prior(&self, window_tokens: usize) -> Prior<'_> {
        let engine = Engine::new(self.language.model(), &self.output, Kernels::detect(), N_CONTEXTS, window_tokens);
        let contexts = vec![Context::default(); N_CONTEXTS];
        Prior { parts: self, state: RefCell::new(State { engine, contexts, n_calls: 0 }) }
    }
}

/// A model that remembers its last contexts, so that those that extend one of them cost one step.
pub(crate) struct Prior<'p> {
    parts: &'p Parts<'p>,
    state: RefCell<State<'p>>,
}

struct State<'p> {
    engine: Engine<'p>,
    /// One for each of the engine's sequences.
    contexts: Vec<Context>,
    n_calls: u64,
}

#[derive(Clone, Default)]
struct Context {
    tokens: Vec<u32>,
    /// Of all ids, after these tokens.
    logits: Vec<f32>,
    last_call: u64,
}

impl State<'_> {
    /// The logits of all ids for the token that follows some.
    fn logits(&mut self, tokens: &[u32]) -> &[f32] {
        self.n_calls += 1;
        let extended = (0..N_CONTEXTS)
            .filter(|&i| !self.contexts[i].tokens.is_empty() && tokens.starts_with(&self.contexts[i].tokens))
            .max_by_key(|&i| self.contexts[i].tokens.len());
        let slot = extended.unwrap_or_else(|| {
            let oldest = (0..N_CONTEXTS).min_by_key(|&i| self.contexts[i].last_call).unwrap();
            self.engine.reset(oldest);
            self.contexts[oldest] = Context::default();
            oldest
        });
        let context = &mut self.contexts[slot];
        context.last_call = self.n_calls;
        let new = &tokens[context.tokens.len()..];
        if !new.is_empty() {
            let logits = self.engine.forward(&[Segment { sequence: slot, tokens: new }]).unwrap();
            context.logits = logits[logits.len() / new.len() * (new.len() - 1)..].to_vec();
            context.tokens.extend_from_slice(new);
        }
        &context.logits
    }
}

impl second_decoder::LanguageModel for Prior<'_> {
    fn fingerprint(&self) -> [u8; 32] {
        self.parts.language.fingerprint().0
    }

    fn token_bytes(&self) -> &[Vec<u8>] {
        &self.parts.token_bytes
    }

    fn has_dummy_prefix(&self) -> bool {
        self.parts.language.tokenizer().dummy_prefix()
    }

    fn weights(&self, context: &[u32], ids: &[u32]) -> Vec<u32> {
        let mut state = self.state.borrow_mut();
        let all = state.logits(context);
        let logits: Vec<f32> = ids.iter().map(|&id| all[id as usize]).collect();
        integer_weights(&logits)
    }
}

/// `docs/determinism.md`, section 8.
fn integer_weights(logits: &[f32]) -> Vec<u32> {
    let largest = logits.iter().copied().filter(|x| !x.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    logits.iter().map(|&x| (exp(x - largest) * (1u32 << 30) as f32) as u32).collect()
}

/// e^x, `docs/determinism.md`, section 6.
fn exp(x: f32) -> f32 {
    let not_below = if x > -87.0 { x } else { -87.0 };
    let c = if not_below < 88.0 { not_below } else { 88.0 };
    let n = (c * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-355.0 / 512.0, c);
    let r = n.mul_add(2.121_944_4e-4, r);
    let coefficients = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let p = coefficients.into_iter().fold(1.0 / 5040.0, |p: f32, k| p.mul_add(r, k));
    if -87.0 < not_below { p * 2f32.powi(n as i32) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_weights_are_those_of_the_kernels() {
        let mut random = lmgc_testkit::Random::new(8);
        for n in 1..40 {
            let mut logits: Vec<f32> = (0..n).map(|_| random.next_normal() * 20.0).collect();
            logits[n / 2] = if n % 7 == 0 { f32::NAN } else { logits[n / 2] };
            let mut weights = vec![0; n];
            Kernels::detect().logit_weights(&logits, &mut weights);
            assert_eq!(integer_weights(&logits), weights, "{logits:?}");
        }
    }

    #[test]
    fn contexts_do_not_disturb_each_other() {
        use lmgc_testkit::second_decoder::LanguageModel as _;
        let one = crate::common::OneModel::tiny(&lmgc_testkit::TinyModel::default());
        let parts = Parts::new(&one.0);
        let (shared, ids) = (parts.prior(64), [5, 9, 200]);
        for step in 0..20 {
            for sequence in 0..N_CONTEXTS as u32 + 3 {
                let tokens: Vec<u32> = (0..=step).map(|i| if i == 0 { 1 } else { 7 + sequence * i % 50 }).collect();
                assert_eq!(shared.weights(&tokens, &ids), parts.prior(64).weights(&tokens, &ids));
            }
        }
    }
}
