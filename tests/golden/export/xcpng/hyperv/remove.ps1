#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Removes machines, disks and switches of this lab. Media are kept.
. (Join-Path $PSScriptRoot 'lib.ps1')
Remove-LabVM -Name 'xcpng-host' -Lab 'xcpng'
Remove-LabDisk -Path 'C:\nestlab\xcpng\xcpng-host-system.vhdx'
Remove-LabDisk -Path 'C:\nestlab\xcpng\xcpng-host-guests.vhdx'
Remove-LabSwitch -Name 'nestlab-xcpng-storage' -Lab 'xcpng'
