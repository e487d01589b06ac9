//! What was measured, in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::Group;
use crate::labels::Labels;
use crate::record::{Measure, Record, Settings, Status};
use crate::results::{Results, file_name};
use crate::tables::ESTIMATES;

/// Of longer lists, the beginning is shown.
const MAX_LISTED: usize = 24;

/// Facts and their values, and what a reader must be told besides.
pub(crate) struct Overview {
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) remarks: Vec<String>,
}

pub(crate) fn overview(results: &Results, groups: &[Group], labels: &Labels) -> Overview {
    let records = results.records();
    let settings = |of: fn(&Settings) -> Option<&String>| {
        records.iter().filter_map(|record| of(&record.settings).map(String::as_str)).collect::<BTreeSet<_>>()
    };
    let cells = match results.n_failed() {
        0 => format!("{} ok, none failed", results.n_ok()),
        n_failed => format!("{} ok, {n_failed} failed", results.n_ok()),
    };
    let inputs: BTreeSet<String> = groups
        .iter()
        .filter(|group| group.data.is_input && !group.data.set.is_empty())
        .map(|group| labels.data_without_steps(&group.data))
        .collect();
    let versions: BTreeSet<String> = records
        .iter()
        .flat_map(|record| &record.settings.versions)
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let facts = [
        ("cells", Some(cells)),
        ("measured", measures(records)),
        ("sweeps", listed(records.iter().filter_map(|record| record.sweep.as_deref()).collect())),
        ("data sets", listed(settings(|settings| settings.dataset.as_ref()))),
        ("inputs", listed(inputs.iter().map(String::as_str).collect())),
        ("architectures", listed(settings(|settings| settings.arch.as_ref()))),
        ("training runs (tags)", listed(settings(|settings| settings.tag.as_ref()))),
        ("lossy steps", listed(records.iter().filter_map(|record| record.settings.lossy_steps()).collect())),
        ("language models", listed(settings(|settings| settings.model.as_ref()).into_iter().map(file_name).collect())),
        ("codecs", listed(records.iter().map(|record| record.codec.as_str()).collect())),
        ("common settings", Some(labels.common.join(", ")).filter(|common| !common.is_empty())),
        ("versions", listed(versions.iter().map(String::as_str).collect())),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Overview { facts, remarks: remarks(results, groups) }
}

fn measures(records: &[Record]) -> Option<String> {
    let mut n_of: BTreeMap<Measure, usize> = BTreeMap::new();
    for record in records.iter().filter(|record| record.status == Status::Ok) {
        *n_of.entry(record.measure).or_default() += 1;
    }
    let texts: Vec<String> = n_of
        .into_iter()
        .map(|(measure, n)| match measure {
            Measure::File => format!("{n} as .lmgc files, decoded and compared"),
            Measure::Payload => format!("{n} as payloads of baselines, decoded and compared"),
            Measure::Measured => format!("{n} decoded and compared"),
            Measure::Estimate => format!("{n} estimated: ideal code lengths, nothing written"),
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn remarks(results: &Results, groups: &[Group]) -> Vec<String> {
    let mut remarks = Vec::new();
    if results.records().is_empty() {
        remarks.push("The result files hold no results.".to_owned());
    } else if results.n_ok() == 0 {
        remarks.push("No cell has figures; the failures below say why.".to_owned());
    }
    if results.records().iter().any(|record| record.measure == Measure::Estimate) {
        remarks.push(ESTIMATES.to_owned());
    }
    match results.n_torn() {
        0 => {}
        1 => {
            remarks.push("One last line breaks off and was left out: the program that wrote it was killed.".to_owned())
        }
        n => remarks
            .push(format!("{n} last lines break off and were left out: the programs that wrote them were killed.")),
    }
    match results.n_replaced() {
        0 => {}
        1 => remarks.push("One cell was measured twice; its last result counts.".to_owned()),
        n => remarks
            .push(format!("{n} results are of cells that were measured again; the last result of a cell counts.")),
    }
    match groups.iter().map(|group| group.n_superseded).sum() {
        0 => {}
        1 => remarks.push("One repeat is in several sweeps; the last of its results counts in means.".to_owned()),
        n => remarks
            .push(format!("{n} results are of repeats that occur again later; the last of each counts in means.")),
    }
    let mut versions_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version) in results.records().iter().flat_map(|record| &record.settings.versions) {
        versions_of.entry(name).or_default().insert(version);
    }
    for (name, _) in versions_of.into_iter().filter(|(_, versions)| versions.len() > 1) {
        remarks.push(format!("The results come from several versions of {name}."));
    }
    remarks
}

fn listed(values: BTreeSet<&str>) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let listed = values.into_iter().take(MAX_LISTED).collect::<Vec<_>>().join(", ");
    Some(if n > MAX_LISTED { format!("{listed} and {} more", n - MAX_LISTED) } else { listed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::groups;

    #[test]
    fn facts_that_are_not_known_are_left_out() {
        let lines = r#"{"codec":"gzip","measure":"estimate","input":"a/b.npy","settings":{"versions":{"lmgc":"1"}}}
{"codec":"lm","error":"no","settings":{"dataset":"digits","versions":{"lmgc":"2"}}}
{"codec":"#;
        let results = Results::parse("x", lines.as_bytes()).unwrap();
        let groups = groups(&results);
        let overview = overview(&results, &groups, &Labels::new(&groups));
        let facts: Vec<(&str, &str)> = overview.facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(facts[0], ("cells", "1 ok, 1 failed"));
        assert!(facts.contains(&("inputs", "b.npy")) && facts.contains(&("versions", "lmgc 1, lmgc 2")));
        assert!(!facts.iter().any(|(name, _)| *name == "sweeps"));
        let remarks = overview.remarks.join("\n");
        for part in ["estimates", "breaks off", "several versions of lmgc"] {
            assert!(remarks.contains(part), "{remarks}");
        }
    }
}
