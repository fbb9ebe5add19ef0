//! Administration while it runs: what belongs together is there together.

use std::net::SocketAddr;
use std::path::Path;

use super::super::file::Root;
use super::super::problem::Severity;
use super::super::read::Slot;
use super::super::source::{Part, PlaceId};
use super::Checker;
use crate::control::tokens::Tokens;

impl Checker<'_> {
    pub(super) fn control(&mut self, root: &Root, bound: &mut Vec<(SocketAddr, bool, Option<PlaceId>)>) {
        let Some(control) = &root.control.value else { return };
        for (key, group) in [("admin_group", &control.admin_group), ("viewer_group", &control.viewer_group)] {
            if group.value.as_ref().is_some_and(|name| name.trim().is_empty()) {
                self.error(
                    group.place,
                    format!("[control] {key}: expected the name of a group, this is empty"),
                );
            }
        }
        let [certificate, key, tokens] = [&control.certificate, &control.key, &control.tokens];
        let with_it = [("certificate", certificate), ("key", key), ("tokens", tokens)];
        if control.listen.value.is_some() {
            let any = Slot { value: None, place: None, sound: true };
            self.listener("[control] listen", &control.listen, &any, bound);
            for (key, slot) in with_it {
                if slot.value.is_none() && slot.sound {
                    self.error(
                        control.listen.place,
                        format!("[control] {key} is missing: administration over TCP needs certificate, key and tokens"),
                    );
                }
            }
        } else if control.listen.place.is_none() {
            for (key, slot) in with_it.into_iter().filter(|(_, slot)| slot.place.is_some()) {
                let text = format!("[control] {key}: says nothing here, since there is no listen");
                self.problems.push(self.places.problem(Severity::Warning, slot.place, Part::Value, text));
            }
        }
    }

    pub(super) fn control_files(
        &mut self,
        root: &Root,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) {
        let Some(control) = root.control.value.as_ref().filter(|control| control.listen.value.is_some())
        else {
            return;
        };
        self.identity("[control]", &control.certificate, &control.key, identity);
        let Some(file) = &control.tokens.value else { return };
        match Tokens::from_file(file) {
            Err(sentence) => self.error(control.tokens.place, format!("[control] tokens: {sentence}")),
            Ok(tokens) if tokens.is_empty() => {
                let text = format!(
                    "[control] tokens: there is none in {}, so nobody can come in over TCP; make one with: nuncio token NAME",
                    file.display()
                );
                self.problems.push(self.places.problem(
                    Severity::Warning,
                    control.tokens.place,
                    Part::Value,
                    text,
                ));
            }
            Ok(_) => {}
        }
    }
}
