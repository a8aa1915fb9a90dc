//! `ensign serve`: the real server, with logs, until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;

use ensign_server::{Clock, Config, Running, Server};
use tracing_subscriber::EnvFilter;

use crate::args::Serve;
use crate::settings::{self, Env};
use crate::{End, fail, print};

/// Runs the server until the process is told to stop.
pub(crate) async fn run(serve: &Serve, env: &Env, json: bool) -> End {
    if let Err(why) = logs(serve) {
        return fail(json, &why, End::Usage);
    }
    let listen: SocketAddr = match serve.listen.parse() {
        Ok(listen) => listen,
        Err(_) => {
            let why = format!("--listen: `{}` is not an address; write 127.0.0.1:7070", serve.listen);
            return fail(json, &why, End::Usage);
        }
    };
    let data = env.data_folder(serve.data.as_deref());
    let mut config = Config::new(listen, &data);
    config.behind_proxy = serve.behind_proxy;
    config.confirm.clone_from(&serve.confirm_origin);
    config.ofrep_rate = serve.ofrep_rate;
    config.secret = match env.secret.as_deref().map(settings::key).transpose() {
        Ok(secret) => secret,
        Err(why) => return fail(json, &why, End::Usage),
    };
    let running = match Server::start(config, Clock::system()).await {
        Ok(running) => running,
        Err(why) => return fail(json, &why.to_string(), End::Refused),
    };
    announce(&running, &data, json);
    stop_signal().await;
    running.stop().await;
    End::Done
}

fn announce(running: &Running, data: &Path, json: bool) {
    let (url, data) = (format!("http://{}", running.address), data.display());
    if json {
        print(&format!("{}\n", serde_json::json!({"url": url, "data": data.to_string()})));
    } else {
        print(&format!("Ensign is listening on {url} (data in {data})\n"));
    }
}

fn logs(serve: &Serve) -> Result<(), String> {
    let filter = EnvFilter::try_new(&serve.log).map_err(|why| format!("--log: {why}"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if serve.log_json {
        logs.json().init();
    } else {
        logs.compact().init();
    }
    Ok(())
}

/// Returns when the process is asked to end.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signal handlers the default action ends the process; there is nothing to wait for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
