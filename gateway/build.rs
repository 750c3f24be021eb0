//! Makes sure that the folder of the built dashboard is there, so that the gateway can be built without npm.

fn main() -> std::io::Result<()> {
    std::fs::create_dir_all("ui/dist")?;
    println!("cargo::rerun-if-changed=ui/dist");
    Ok(())
}
