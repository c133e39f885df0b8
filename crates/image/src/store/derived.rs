//! Layers that are made here of other layers.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use super::verification::Verification;
use super::work::Work;
use super::{Image, Store, StoreError};

/// How to make such a layer. The same layers below give the same one.
pub(super) trait Derived {
    /// Its name, by what it is made of.
    fn id(&self) -> String;

    /// Makes its files in the empty directory `target`.
    fn make(&self, store: &Store, target: BorrowedFd<'_>) -> Result<(), StoreError>;
}

impl Store {
    /// Makes sure that the layer is there.
    pub(super) fn derive(&self, derived: &impl Derived) -> Result<(), StoreError> {
        let id = derived.id();
        if self.has_layer(&id)? {
            return Ok(());
        }
        let work = Work::new(self)?;
        derived.make(self, work.rootfs()?.as_fd())?;
        let locked = self.lock()?;
        self.commit_layer(&locked, &work, &id)
    }

    /// Compares the layers that rendering `image` has made with what it would make now: those below are as they should
    /// be.
    pub(super) fn verify_derived(
        &self,
        image: &Image,
        in_use: &BTreeSet<String>,
    ) -> Result<Verification, StoreError> {
        let mut found = Verification::Whole;
        let visible = self.visible(image)?;
        for one in visible.iter().filter(|one| !one.is_whole()) {
            found = found.and(self.compare_derived(one, in_use)?);
        }
        if let Some(attributes) = self.attributes(&visible)? {
            found = found.and(self.compare_derived(&attributes, in_use)?);
        }
        Ok(found)
    }

    fn compare_derived(
        &self,
        derived: &impl Derived,
        in_use: &BTreeSet<String>,
    ) -> Result<Verification, StoreError> {
        let id = derived.id();
        if !self.has_layer(&id)? {
            return Ok(Verification::Whole);
        }
        let work = Work::new(self)?;
        let target = work.rootfs()?;
        derived.make(self, target.as_fd())?;
        self.settle_difference(&id, &work, &target, in_use)
    }
}
