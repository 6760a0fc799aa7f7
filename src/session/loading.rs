//! The shard's side of loading: it takes the entries that are dealt to it.

use super::Core;
use crate::command::replicating::Standing;
use crate::keyspace::ExpiryPolicy;
use crate::mesh::{LoadedEntry, Message};

impl Core {
    /// Data will be loaded before anything else happens: no command that looks at it runs until the replication shard
    /// says that it is there.
    pub fn expect_load(&mut self) {
        let standing = Standing {
            loading: true,
            ..self.switches.standing.clone()
        };
        self.set_standing(standing);
    }

    /// Data is being loaded.
    pub fn is_loading(&self) -> bool {
        self.switches.standing.loading
    }

    /// Takes a batch of entries, and says so. A leader drops those that have expired; a follower keeps them until its
    /// leader says that they are gone.
    pub(super) fn load(&mut self, batch: Vec<LoadedEntry>) {
        let keyspace = &mut self.shard.keyspace;
        let now_ms = self.now.wall_ms();
        let drops = keyspace.expiry_policy() == ExpiryPolicy::Delete;
        let (mut keys, mut expired) = (0, 0);
        for LoadedEntry {
            db,
            usage,
            mut entry,
        } in batch
        {
            if drops && entry.expiry().is_some_and(|at_ms| at_ms < now_ms) {
                expired += 1;
                continue;
            }
            entry.set_access(keyspace.restored_access(usage));
            keyspace.put(db, entry);
            keys += 1;
        }
        self.send(self.orderer, Message::Loaded(keys, expired));
    }
}
