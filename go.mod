module vvsim

go 1.26
