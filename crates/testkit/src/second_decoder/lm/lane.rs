//! "Windows" and "Lanes".

use std::ops::Range;

use super::super::Refusal;
use super::settings::Settings;

const MAX_LANES: usize = 32;

/// How tokens are cut into windows, and windows shared out among lanes.
pub(super) struct Windows {
    n_tokens: usize,
    n_lanes: usize,
    /// Tokens in a window that are coded there.
    len: usize,
    overlap: usize,
}

impl Windows {
    pub(super) fn new(
        n_tokens: usize,
        n_lanes: usize,
        settings: &Settings,
        tokens_per_value: usize,
    ) -> Result<Self, Refusal> {
        let len = (settings.window - 1 - settings.overlap) / tokens_per_value * tokens_per_value;
        if len == 0 {
            return Err(Refusal::corrupt("a window that no value fits in"));
        }
        let most = n_tokens.div_ceil(len).min(MAX_LANES);
        if n_lanes > most || (n_lanes == 0) != (n_tokens == 0) {
            return Err(Refusal::corrupt(format!("{n_lanes} lanes for {n_tokens} tokens")));
        }
        Ok(Self { n_tokens, n_lanes, len, overlap: settings.overlap })
    }

    /// Which tokens a lane holds.
    pub(super) fn tokens_of_lane(&self, lane: usize) -> Range<usize> {
        let n_windows = self.n_tokens.div_ceil(self.len);
        let first_token = |lane: usize| (n_windows * lane / self.n_lanes * self.len).min(self.n_tokens);
        first_token(lane)..first_token(lane + 1)
    }
}

/// What the model sees in a lane.
pub(super) struct Context<'w> {
    windows: &'w Windows,
    start_token: u32,
    /// The lane's tokens so far.
    lane: Vec<u32>,
    /// The start token, and the tokens that count of the lane's.
    seen: Vec<u32>,
}

impl<'w> Context<'w> {
    pub(super) fn new(windows: &'w Windows, start_token: u32) -> Self {
        Self { windows, start_token, lane: Vec::new(), seen: Vec::new() }
    }

    /// The context of the next token.
    pub(super) fn tokens(&mut self) -> &[u32] {
        if self.lane.len().is_multiple_of(self.windows.len) {
            self.seen = vec![self.start_token];
            self.seen.extend(&self.lane[self.lane.len().saturating_sub(self.windows.overlap)..]);
        }
        &self.seen
    }

    /// Appends a token.
    pub(super) fn push(&mut self, token: u32) {
        self.lane.push(token);
        self.seen.push(token);
    }
}
