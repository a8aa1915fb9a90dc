//! A decision in the store's terms, and what follows from it elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use ensign_control::catalogue::{Change, Command, EvidenceNote, ItemKey, Notice, RecordKind, Scope};
use ensign_control::evidence::Record;
use ensign_control::evidence::watch::Stratum;
use ensign_control::ids::{Place, RolloutId, Timestamp};
use ensign_store::secrets::token_hash;
use ensign_store::{AuditDraft, Commit, Idempotency, ItemId, Micros, OutboxDraft, Revision};
use serde::{Deserialize, Serialize};

use super::{Done, Options};
use crate::image::{Image, store_scope};
use crate::keys::hex;
use crate::{ApiError, App, limits, webhooks};

fn item_id(key: &ItemKey) -> ItemId {
    ItemId::new(store_scope(&key.scope), key.kind.clone(), key.key.clone())
}

fn bytes(json: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(json).expect("bodies have string keys and finite numbers")
}

impl App {
    /// The transaction of a decision. Who is told of it is settled here, so that a webhook that is added later hears
    /// only of later changes.
    pub(super) fn commit_of(&self, change: &Change, options: &Options, now: Timestamp) -> Commit {
        let image = self.image();
        Commit {
            expect: change.expect.iter().map(|(id, version)| (item_id(id), version.map(Revision))).collect(),
            bump: change.bumps.iter().map(store_scope).collect(),
            put: change.puts.iter().map(|(id, body)| (item_id(id), bytes(body))).collect(),
            forget: change.forgets.iter().map(item_id).collect(),
            audit: change
                .audit
                .iter()
                .map(|entry| AuditDraft {
                    scope: store_scope(&entry.scope),
                    actor: entry.actor.clone(),
                    action: entry.action.clone(),
                    subject: entry.subject.clone(),
                    reason: entry.reason.clone(),
                    at: Micros(entry.at.0),
                    diff: bytes(&entry.diff),
                })
                .collect(),
            outbox: change.notices.iter().flat_map(|notice| outbox(&image, notice, now)).collect(),
            fence: options.fence.clone(),
            idempotency: None,
            log_position: options.log_position,
        }
    }

    /// What a retry of the same request is answered with. The revisions are those this commit is going to make: the
    /// counters rise by one, and this is the only writer.
    pub(super) fn idempotency(
        &self,
        key: &str,
        command: &Command,
        done: &Done,
        change: &Change,
        now: Timestamp,
    ) -> Idempotency {
        let image = self.image();
        let scopes: BTreeSet<&Scope> =
            change.puts.iter().map(|(id, _)| &id.scope).chain(&change.bumps).collect();
        let revisions = scopes.into_iter().map(|scope| (scope.clone(), image.revision(scope) + 1)).collect();
        // Secrets are shown once, also to whoever repeats a request.
        let done = Done { revisions, credentials: BTreeMap::new(), ..done.clone() };
        Idempotency {
            key: key.to_owned(),
            response: bytes(&Remembered { request: fingerprint(command), done }),
            expires: Micros(now.0.saturating_add(limits::IDEMPOTENCY_MICROS)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    request: String,
    done: Done,
}

fn fingerprint(command: &Command) -> String {
    hex(&token_hash(&serde_json::to_string(command).unwrap_or_default())[..16])
}

/// The first answer again, if it was the same request.
pub(super) fn replay(response: &[u8], command: &Command) -> Result<Done, ApiError> {
    let remembered: Remembered = serde_json::from_slice(response).map_err(|_| {
        ApiError::new("internal", "The first answer under this idempotency key cannot be read.")
    })?;
    if remembered.request != fingerprint(command) {
        return Err(ApiError::new(
            "idempotency_mismatch",
            "This idempotency key was used for a different request within the last day.",
        ));
    }
    Ok(Done { replayed: true, ..remembered.done })
}

/// One entry per webhook that wants to hear of it.
fn outbox(image: &Image, notice: &Notice, now: Timestamp) -> Vec<OutboxDraft> {
    webhooks::wanted(image, notice)
        .map(|webhook| OutboxDraft {
            kind: webhooks::KIND.to_owned(),
            key: format!("{}/{webhook}", notice.key),
            body: bytes(&webhooks::Entry::new(webhook, notice, now)),
            not_before: Micros(now.0),
        })
        .collect()
}

/// What the evidence has to be told, in order. `image` is already that after the change.
pub(super) fn records(change: &Change, image: &Image, now: Timestamp) -> Vec<Record> {
    let mut records = Vec::new();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (at, note) in change.evidence.iter().enumerate() {
        match note {
            EvidenceNote::Watch(watch) => {
                // A watch begins with its first stratum: the one of this change, or the one that is served anyway.
                let first = change.evidence.iter().enumerate().skip(at).find_map(|(at, note)| match note {
                    EvidenceNote::Stratum { rollout, stratum } if *rollout == watch.rollout => {
                        Some((at, *stratum))
                    }
                    EvidenceNote::Stratum { .. } | EvidenceNote::Watch(_) | EvidenceNote::Finished(_) => None,
                });
                told.extend(first.map(|(at, _)| at));
                let stratum =
                    first.map(|(_, stratum)| stratum).or_else(|| served(image, &watch.rollout, now));
                if let Some(stratum) = stratum {
                    records.push(Record::Watch { watch: Box::new(watch.clone()), stratum });
                }
            }
            EvidenceNote::Stratum { rollout, stratum } if !told.contains(&at) => {
                records.push(Record::Stratum { rollout: rollout.clone(), stratum: *stratum });
            }
            EvidenceNote::Stratum { .. } => {}
            EvidenceNote::Finished(rollout) => {
                records.push(Record::Ended { rollout: rollout.clone(), at: now });
            }
        }
    }
    records
}

/// The stratum of a rollout that is served now.
fn served(image: &Image, id: &RolloutId, now: Timestamp) -> Option<Stratum> {
    let epoch = image.catalogue.rollout_facts(id, now).epoch?;
    let share = image.catalogue.rollout_of(id)?.share();
    Some(Stratum { epoch, share, at: now })
}

/// Whether somebody may come or go by it.
pub(super) fn touches_keys(change: &Change) -> bool {
    let word = RecordKind::ApiKey.word();
    change.puts.iter().map(|(id, _)| id).chain(&change.forgets).any(|id| id.kind == word)
}

/// The environments that serve something else now.
pub(super) fn places(change: &Change, revisions: &BTreeMap<Scope, u64>, image: &Image) -> Vec<Place> {
    let scopes: BTreeSet<&Scope> =
        revisions.keys().chain(change.puts.iter().map(|(id, _)| &id.scope)).chain(&change.bumps).collect();
    let touched = |place: &Place| {
        scopes.iter().any(|scope| {
            scope.project == place.project.as_str()
                && scope.environment.as_ref().is_none_or(|own| own == place.environment.as_str())
        })
    };
    image.places().into_iter().filter(touched).collect()
}

/// Maps whose keys are no strings, as lists of pairs.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use ensign_control::catalogue::Scope;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::act) fn serialize<S: Serializer>(
        map: &BTreeMap<Scope, u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(in crate::act) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Scope, u64>, D::Error> {
        Ok(Vec::<(Scope, u64)>::deserialize(from)?.into_iter().collect())
    }
}
