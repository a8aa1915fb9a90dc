//! Rollouts in the catalogue: their decisions become changes of the split they own, in one transaction.

use super::draft::Draft;
use crate::ids::{Key, Place};

/// A kill stands above the rollout; the rollout is told in the same transaction and holds.
pub(super) fn killed(_draft: &mut Draft<'_>, _place: &Place, _flag: &Key) {}
