package main

// Schedules may name a time zone (TZ=Asia/Almaty). Where the machine has none,
// as in a container, the program's own are used.
import _ "time/tzdata"
