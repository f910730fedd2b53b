//! `tenure explore`: Stateright's Explorer over a universe, on loopback.

use crate::names;
use anyhow::{Context, Result};
use clap::Args;
use stateright::Model as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use tenure_checker::system::Model;
use tenure_protocol::{Seeded, Sound};

/// The arguments of `tenure explore`.
#[derive(Args)]
pub(crate) struct Explore {
    /// The universe.
    #[arg(default_value = "calm")]
    universe: String,
    /// Make this mistake on purpose.
    #[arg(long, value_name = "NAME")]
    defect: Option<String>,
    /// The port on loopback; 0: any that is free.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

impl Explore {
    pub(crate) fn run(self) -> Result<bool> {
        let universe = names::universe(&self.universe)?;
        let defect = self.defect.as_deref().map(names::defect).transpose()?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        // Stateright panics when it cannot listen, so find out first.
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}; choose another --port"))?;
        let address = listener.local_addr()?;
        drop(listener);
        println!(
            "Exploring '{}' at http://{address}/ (Ctrl-C ends it)",
            universe.name
        );
        match defect {
            None => drop(Model::new(universe, Sound).checker().serve(address)),
            Some(defect) => drop(
                Model::new(universe, Seeded(defect))
                    .checker()
                    .serve(address),
            ),
        }
        Ok(true)
    }
}
