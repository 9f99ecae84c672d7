//! Which cases are run, and what each of them has to do.

use std::process::{Command, Stdio};

use crate::case::{self, Case};
use crate::daemon::base_name;
use crate::divergence::{Divergences, Kind};
use crate::options::{Options, beside};

/// What a case has to do.
#[derive(Clone, Copy)]
pub(crate) enum Duty {
    /// Agree with the recording.
    Agree,
    /// Agree with serbroker's own recording, which stands for the one of ser2net.
    AgreeWithOwn,
    /// Differ from the recording, as `DIVERGENCES.md` says.
    Differ(Kind),
}

pub(crate) struct Job<'a> {
    pub(crate) case: &'a Case,
    pub(crate) duty: Duty,
}

/// A case that is not run.
pub(crate) struct Left {
    pub(crate) area: String,
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// The cases and lists as they stand in their files.
pub(crate) struct Material {
    cases: Vec<Case>,
    /// None when another program is tested than the one whose divergences are listed.
    divergences: Option<Divergences>,
    quarantine: std::collections::BTreeMap<String, String>,
}

#[derive(Default)]
pub(crate) struct Plan<'a> {
    pub(crate) jobs: Vec<Job<'a>>,
    pub(crate) left: Vec<Left>,
}

impl Material {
    pub(crate) fn load(options: &Options) -> Result<Material, String> {
        let divergences = is_serbroker(options).then(|| Divergences::load(&beside(""))).transpose()?;
        let quarantine = case::quarantine(&options.cases);
        let cases = case::load(&options.cases, |area| options.wants_area(area))?;
        let material = Material { cases, divergences, quarantine };
        material.check_lists()?;
        Ok(material)
    }

    /// Lists must stay true: a name in them that is no case is an error, in the areas that were read.
    fn check_lists(&self) -> Result<(), String> {
        let Some(divergences) = &self.divergences else { return Ok(()) };
        let read = |key: &str| {
            let area = key.split_once('/').map_or(key, |(area, _)| area);
            self.cases.iter().any(|c| c.area == area)
        };
        let known = |key: &str| self.cases.iter().any(|c| c.key() == key);
        if let Some(key) = divergences.listed.keys().find(|k| read(k) && !known(k)) {
            return Err(format!("DIVERGENCES.md lists {key}, which is no case"));
        }
        let unlisted = |key: &str| {
            let diverges = divergences.listed.get(key).is_some_and(|d| d.kind == Kind::Diverges);
            !diverges && !self.quarantine.contains_key(key)
        };
        match divergences.own.iter().map(Case::key).find(|k| read(k) && (!known(k) || unlisted(k))) {
            Some(key) => Err(format!("serbroker/*.yaml has {key}, which is not listed as diverging")),
            None => Ok(()),
        }
    }

    /// Sorts the wanted cases into those that run and those that do not.
    pub(crate) fn plan(&self, options: &Options) -> Plan<'_> {
        let mut plan = Plan::default();
        let is_35 = self.cases.iter().any(|c| c.area == LEGACY_35) && says_35(&options.program);
        for case in &self.cases {
            let key = case.key();
            if !options.wants_area(&case.area) || !options.wants_case(&key) {
                continue;
            }
            let own = self.divergences.as_ref().and_then(|d| d.own(&key));
            plan.jobs.extend(own.map(|case| Job { case, duty: Duty::AgreeWithOwn }));
            let quarantined =
                self.quarantine.get(&key).filter(|_| options.quarantine && options.only.is_empty());
            let left = |reason| Left { area: case.area.clone(), id: case.id.clone(), reason };
            if let Some(reason) = quarantined {
                plan.left.push(left(format!("quarantine: {reason}")));
            } else if case.area == LEGACY_35 && !is_35 && !options.names_area(LEGACY_35) {
                plan.left.push(left("recorded from version 3.5.1".to_owned()));
            } else {
                let listed = self.divergences.as_ref().and_then(|d| d.listed.get(&key));
                let duty = listed.map_or(Duty::Agree, |d| Duty::Differ(d.kind));
                plan.jobs.push(Job { case, duty });
            }
        }
        plan
    }

    /// Why a case is listed in `DIVERGENCES.md`.
    pub(crate) fn reason(&self, key: &str) -> &str {
        self.divergences.as_ref().and_then(|d| d.listed.get(key)).map_or("", |d| &d.reason)
    }

    /// Whether serbroker has a recording of its own for a case.
    pub(crate) fn has_own(&self, key: &str) -> bool {
        self.divergences.as_ref().is_some_and(|d| d.own(key).is_some())
    }
}

const LEGACY_35: &str = "l_legacy35";

fn is_serbroker(options: &Options) -> bool {
    options.program.first().is_some_and(|p| base_name(p).starts_with("serbroker"))
}

fn says_35(program: &[String]) -> bool {
    let Some((name, args)) = program.split_first() else { return false };
    Command::new(name)
        .args(args)
        .arg("-v")
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("version 3.5"))
}
