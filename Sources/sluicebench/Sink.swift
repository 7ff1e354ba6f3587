// x
import ArgumentParser
struct Sink: ParsableCommand { func run() throws {} }
