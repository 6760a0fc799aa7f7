//! What `enable-debug-command` and `enable-protected-configs` allow to whom.

use super::{Client, Command, Fault, flag};
use crate::config::{Config, ProtectedAction};

/// The setting lets this client do it.
pub fn protected_action_allowed(setting: ProtectedAction, client: &Client) -> bool {
    match setting {
        ProtectedAction::No => false,
        ProtectedAction::Yes => true,
        ProtectedAction::Local => client.local,
    }
}

/// Refuses a row with [`flag::PROTECTED`] to a client that may not run it. The gate asks before a line is run or queued.
pub fn check_protected(command: &Command, config: &Config, client: &Client) -> Result<(), Fault> {
    if !command.has(flag::PROTECTED)
        || protected_action_allowed(config.enable_debug_command, client)
    {
        return Ok(());
    }
    Err(Fault::text(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}
