use super::from_xmpp::Report;
use super::model::Presentity;

impl Presentity {
    /// Takes in what a contact's stanza says. True if that changed anything a watcher can see.
    pub fn report(&mut self, report: Report) -> bool {
        let _ = report;
        false
    }

    /// Takes in a document, which is full state (PM-20): what it does not mention is gone. A tuple whose timestamp is older
    /// than the one known of it stays as it is known (PD-05).
    pub fn supersede(&mut self, document: Self) {
        *self = document;
    }

    /// Forgets the timestamps: a new subscription may be answered by another clock.
    pub fn forget_timestamps(&mut self) {
        self.resources.iter_mut().for_each(|resource| resource.set_updated_ms(None));
    }
}
