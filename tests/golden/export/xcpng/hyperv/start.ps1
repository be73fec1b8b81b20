#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first.
. (Join-Path $PSScriptRoot 'lib.ps1')
Start-LabVM -Name 'xcpng-host' -Lab 'xcpng'
