//! `ensign agent`: the local interface of the AppConfig agent, in front of an Ensign server.

use std::net::SocketAddr;

use ensign_server::agent::{self, Settings};

use crate::args::{Agent, Target};
use crate::serve::stop_signal;
use crate::settings::{self, Env};
use crate::{End, fail, print};

/// Runs the agent until the process is told to stop.
pub(crate) async fn run(wanted: &Agent, target: &Target, env: &Env) -> End {
    let listen: SocketAddr = match wanted.listen.parse() {
        Ok(listen) => listen,
        Err(_) => {
            let why = format!("--listen: `{}` is not an address; write 127.0.0.1:2772", wanted.listen);
            return fail(target.json, &why, End::Usage);
        }
    };
    let server = match settings::server(target, env) {
        Ok(server) => server,
        Err(why) => return fail(target.json, &why, End::Refused),
    };
    let settings = Settings {
        listen,
        upstream: server.url,
        key: server.token,
        backup: wanted.backup.clone(),
        access_token: wanted.access_token.clone().or_else(|| env.access_token.clone()),
    };
    let running = match agent::start(settings).await {
        Ok(running) => running,
        Err(why) => return fail(target.json, &why.to_string(), End::Refused),
    };
    print(&format!("The agent is listening on http://{}\n", running.address));
    stop_signal().await;
    running.stop().await;
    End::Done
}
