// x
import ArgumentParser
struct Consume: ParsableCommand { func run() throws {} }
