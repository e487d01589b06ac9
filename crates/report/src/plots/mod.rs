//! Plots of rates and of what they are made of.

mod codecs;
mod fields;
mod mark_labels;
mod panels;
mod series;
mod throughput;

use std::collections::BTreeSet;

use crate::groups::{Data, Group, Setting};
use crate::labels::Labels;

/// A picture with its words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plot {
    /// Name of its files.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) svg: String,
}

/// A plot that there is nothing to draw in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) name: &'static str,
    pub(crate) reason: String,
}

/// What is drawn: groups with a rate, and their names.
pub(crate) struct View<'a> {
    pub(crate) groups: &'a [Group],
    pub(crate) labels: &'a Labels,
}

impl View<'_> {
    /// Data that a part of the groups is about, in order.
    fn data(&self, is_drawn: impl Fn(&Group) -> bool) -> Vec<&Data> {
        let data: BTreeSet<&Data> =
            self.groups.iter().filter(|group| is_drawn(group)).map(|group| &group.data).collect();
        data.into_iter().collect()
    }

    /// The end of a caption where some of the data went through lossy steps.
    fn steps_caption<'d>(&self, data: impl Iterator<Item = &'d Data>) -> &'static str {
        let is_lossy = { data }.any(|data| data.preprocess.is_some());
        if is_lossy { " After lossy steps, rates are over the bytes that these left." } else { "" }
    }
}

/// All plots, in the order in which they are shown.
pub(crate) fn all(view: &View<'_>) -> Vec<Result<Plot, Skipped>> {
    vec![
        codecs::draw(view),
        series::draw(view, Setting::BytesPerGroup),
        series::draw(view, Setting::Window),
        throughput::draw(view),
        fields::draw(view),
    ]
}
