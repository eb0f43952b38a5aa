"""Third floor: generators at the speed of the hardware. One contract (`backend`), and one file for each way to keep it."""
