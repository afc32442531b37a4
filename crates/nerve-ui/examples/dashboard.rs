//! Serves the runs of a folder: `dashboard DIR [PORT]`, as `nerve ui` does.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| "runs".into());
    let port = args.next().map_or(Ok(6006), |port| port.parse())?;
    let dashboard = nerve_ui::Dashboard::open(folder.as_ref(), port)?;
    println!("http://{}", dashboard.address());
    Ok(dashboard.serve()?)
}
