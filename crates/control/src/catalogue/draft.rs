//! A change being put together: the catalogue as it is with what the change makes of it on top.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Catalogue;
use super::change::{AuditEntry, Change, EvidenceNote, ItemKey, Notice, PlanItem, Scope, Verb};
use super::command::Actor;
use super::state::{Body, FlagRecord, FlagState};
use super::strata;
use super::view::View;
use crate::ids::{Key, Place, Timestamp};

/// See the module.
pub(super) struct Draft<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) actor: &'a Actor,
    pub(super) now: Timestamp,
    pub(super) reason: Option<String>,
    puts: BTreeMap<ItemKey, Arc<Body>>,
    reads: BTreeSet<ItemKey>,
    change: Change,
}

impl View for Draft<'_> {
    fn body(&self, key: &ItemKey) -> Option<Arc<Body>> {
        match self.puts.get(key) {
            Some(body) => Some(body.clone()).filter(|body| **body != Body::Gone),
            None => self.catalogue.body(key),
        }
    }

    fn keys(&self, scope: &Scope, kind: &str) -> Vec<String> {
        let mut all: BTreeSet<String> = self.catalogue.keys(scope, kind).into_iter().collect();
        for (id, body) in self.puts.iter().filter(|(id, _)| id.scope == *scope && id.kind == kind) {
            if **body == Body::Gone {
                all.remove(&id.key);
            } else {
                all.insert(id.key.clone());
            }
        }
        all.into_iter().collect()
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        actor: &'a Actor,
        now: Timestamp,
        reason: Option<String>,
    ) -> Self {
        Self {
            catalogue,
            actor,
            now,
            reason,
            puts: BTreeMap::new(),
            reads: BTreeSet::new(),
            change: Change::default(),
        }
    }

    /// The decision depends on this item staying as it is.
    pub(super) fn depends_on(&mut self, key: ItemKey) {
        self.reads.insert(key);
    }

    /// A new body. One that is the same as before writes nothing.
    pub(super) fn put(&mut self, key: ItemKey, body: Body) {
        let same = self.catalogue.items.get(&key).is_some_and(|stored| *stored.body == body);
        if same {
            self.puts.remove(&key);
        } else {
            self.puts.insert(key, Arc::new(body));
        }
    }

    pub(super) fn put_flag(&mut self, project: &Key, record: FlagRecord) {
        self.put(ItemKey::flag(project, &record.key.clone()), Body::Flag(record));
    }

    pub(super) fn put_state(&mut self, place: &Place, flag: &Key, state: FlagState) {
        self.put(ItemKey::state(place, flag), Body::State(Box::new(state)));
    }

    pub(super) fn say(&mut self, sentence: impl Into<String>) {
        self.change.answer.sentences.push(sentence.into());
    }

    /// What was made, for an asker who did not name it.
    pub(super) fn answer_id(&mut self, id: impl Into<String>) {
        self.change.answer.made = Some(id.into());
    }

    /// What happens to one thing, for the answer and, unless it stays as it is, for the audit log.
    pub(super) fn note(&mut self, item: PlanItem, scope: Scope, action: &str) {
        if !matches!(item.verb, Verb::Keep) {
            let entry = AuditEntry {
                scope,
                actor: self.actor.name.clone(),
                action: action.to_owned(),
                subject: item.subject.clone(),
                reason: self.reason.clone(),
                at: self.now,
                diff: json!({ "sentence": item.sentence, "lines": item.lines }),
            };
            self.change.audit.push(entry);
        }
        self.change.answer.plan.push(item);
    }

    /// Tells the outside. The key makes it once, however often the change is tried.
    pub(super) fn tell(&mut self, event: &str, scope: Scope, subject: &str, sentence: &str, more: &Json) {
        let key = format!(
            "{event}/{}/{}/{subject}/{}",
            scope.project,
            scope.environment.as_deref().unwrap_or(""),
            self.now.0
        );
        let body = json!({
            "event": event,
            "project": scope.project,
            "environment": scope.environment,
            "subject": subject,
            "at": super::rfc3339(self.now),
            "actor": self.actor.name,
            "reason": self.reason,
            "sentence": sentence,
            "details": more,
        });
        self.change.notices.push(Notice { event: event.to_owned(), scope, key, body });
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.change.notices.push(notice);
    }

    pub(super) fn evidence(&mut self, note: EvidenceNote) {
        self.change.evidence.push(note);
    }

    /// An environment gets a new revision.
    pub(super) fn change_bump(&mut self, place: &Place) {
        self.change.bumps.insert(Scope::place(place));
    }

    /// Every environment of a project gets a new revision.
    pub(super) fn bump_project(&mut self, project: &Key) {
        for place in self.environments(project) {
            self.change.bumps.insert(Scope::place(&place));
        }
    }

    /// The change, with everything that follows from it.
    pub(super) fn finish(mut self) -> Change {
        self.touch_states();
        strata::raise(&mut self);
        self.audit_bodies();
        let version = |key: &ItemKey| self.catalogue.items.get(key).map(|stored| stored.version);
        let keys: BTreeSet<&ItemKey> = self.puts.keys().chain(&self.reads).collect();
        self.change.expect = keys.into_iter().map(|key| (key.clone(), version(key))).collect();
        let project_wide = ["flag", "metric", "use_case"];
        let projects: BTreeSet<Key> = self
            .puts
            .keys()
            .filter(|id| id.scope.environment.is_none() && project_wide.contains(&id.kind.as_str()))
            .filter_map(|id| id.scope.project.parse().ok())
            .collect();
        for project in &projects {
            self.bump_project(project);
        }
        self.change.puts = self.puts.iter().map(|(id, body)| (id.clone(), body.json())).collect();
        let scopes: Vec<Scope> = self.change.puts.iter().map(|(id, _)| id.scope.clone()).collect();
        self.change.bumps.extend(scopes);
        self.change
    }

    pub(super) fn changed(&self) -> Vec<ItemKey> {
        self.puts.keys().cloned().collect()
    }

    /// A flag's version in an environment is that of its state, so a change of the flag as a whole writes each state
    /// again.
    fn touch_states(&mut self) {
        let flags: Vec<(Key, Key)> = self
            .puts
            .keys()
            .filter(|id| id.kind == "flag")
            .filter_map(|id| Some((id.scope.project.parse().ok()?, id.key.parse().ok()?)))
            .collect();
        for (project, flag) in flags {
            for place in self.environments(&project) {
                let key = ItemKey::state(&place, &flag);
                if let Some(body) = self.body(&key) {
                    self.puts.insert(key, body);
                }
            }
        }
    }

    /// The audit entries get the state before and after, from which an earlier revision can be restored.
    fn audit_bodies(&mut self) {
        let mut covered: BTreeSet<(Scope, String)> = BTreeSet::new();
        let mut audit = std::mem::take(&mut self.change.audit);
        for key in self.puts.keys().filter(|key| key.kind == "flag_state" || key.kind == "segment") {
            let word = if key.kind == "segment" { "segment" } else { "flag" };
            let subject = format!("{word}/{}", key.key);
            if !audit.iter().any(|entry| entry.scope == key.scope && entry.subject == subject) {
                let project_wide = audit
                    .iter()
                    .find(|entry| entry.subject == subject && entry.scope.environment.is_none())
                    .and_then(|entry| entry.diff.get("sentence").cloned());
                audit.push(AuditEntry {
                    scope: key.scope.clone(),
                    actor: self.actor.name.clone(),
                    action: format!("{word}.follow"),
                    subject,
                    reason: self.reason.clone(),
                    at: self.now,
                    diff: json!({
                        "sentence": project_wide.unwrap_or_else(|| "It follows a change of something it depends on.".into()),
                        "lines": [],
                    }),
                });
            }
        }
        for entry in &mut audit {
            let Some(key) = self.state_key(entry) else { continue };
            if !self.puts.contains_key(&key) || !covered.insert((entry.scope.clone(), entry.subject.clone()))
            {
                continue;
            }
            let before = self.catalogue.items.get(&key);
            let snapshot = |view: &dyn View| self.snapshot(view, &key);
            entry.diff["was"] = before.map_or(Json::Null, |stored| stored.version.into());
            entry.diff["before"] = snapshot(self.catalogue);
            entry.diff["after"] = snapshot(self);
        }
        self.change.audit = audit;
    }

    fn state_key(&self, entry: &AuditEntry) -> Option<ItemKey> {
        let (word, key) = entry.subject.split_once('/')?;
        let kind = match word {
            "flag" if entry.scope.environment.is_some() => "flag_state",
            "segment" => "segment",
            _ => return None,
        };
        Some(ItemKey { scope: entry.scope.clone(), kind: kind.to_owned(), key: key.to_owned() })
    }

    fn snapshot(&self, view: &dyn View, key: &ItemKey) -> Json {
        let Some(body) = view.body(key) else { return Json::Null };
        let record = ItemKey {
            scope: Scope { project: key.scope.project.clone(), environment: None },
            kind: "flag".to_owned(),
            key: key.key.clone(),
        };
        match (key.kind.as_str(), view.body(&record)) {
            ("flag_state", Some(flag)) => json!({ "flag": flag.json(), "state": body.json() }),
            _ => json!({ "state": body.json() }),
        }
    }
}
